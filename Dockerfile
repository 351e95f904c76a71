# The image of the controller: the same files as `cargo xtask image` makes without a daemon.
#   docker build -t registry.example.com/bowline:0.1.0 .
# With traces: --build-arg FEATURES=otel

FROM golang:1.26-bookworm AS go

FROM rust:1.95-bookworm AS build
COPY --from=go /usr/local/go /usr/local/go
ENV PATH=/usr/local/cargo/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    GOPATH=/caches/go GOCACHE=/caches/go-build BOWLINE_CACHE=/caches/bowline
WORKDIR /src
ARG FEATURES=""
COPY . .
# The caches of a builder are kept between builds, and are no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    --mount=type=cache,target=/caches \
    cargo xtask image --root /rootfs ${FEATURES:+--features "$FEATURES"}

FROM scratch
COPY --from=build /rootfs /
COPY --from=build --chown=65532:65532 /rootfs/var/cache/bowline /var/cache/bowline
LABEL org.opencontainers.image.title="bowline" \
      org.opencontainers.image.description="A GitOps controller for Kubernetes that holds, explains itself, and takes a bad release back" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/local/bin
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/bowline"]
CMD ["controller"]
