{{/* What the names of all objects begin with. */}}
{{- define "bowline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "bowline" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-bowline" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "bowline.selector" -}}
app.kubernetes.io/name: bowline
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "bowline.labels" -}}
{{ include "bowline.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The controller's own account. */}}
{{- define "bowline.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (printf "%s-controller" (include "bowline.fullname" .)) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed with serviceAccount.create=false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "bowline.subject" -}}
subjects:
- kind: ServiceAccount
  name: {{ include "bowline.account" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "bowline.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The namespaces that are served, as JSON; none is all. */}}
{{- define "bowline.namespaces" -}}
{{- if eq .Values.watch.scope "namespaces" -}}
{{- if not .Values.watch.namespaces -}}
{{- fail "watch.scope=namespaces needs the namespaces in watch.namespaces" -}}
{{- end -}}
{{- .Values.watch.namespaces | uniq | toJson -}}
{{- else -}}
{{- if .Values.watch.namespaces -}}
{{- fail "watch.namespaces is for watch.scope=namespaces; with watch.scope=cluster all are served" -}}
{{- end -}}
[]
{{- end -}}
{{- end -}}

{{/* The files by which the operator's own servers are spoken to, as sources of a volume. */}}
{{- define "bowline.servers" -}}
{{- $sources := list -}}
{{- range $server := list "notify" "prometheus" -}}
{{- $of := index $.Values.controller $server -}}
{{- if $of.url -}}
{{- range $file := list "key" "token" -}}
{{- with index $of (printf "%sSecret" $file) -}}
{{- if .name -}}
{{- $item := dict "key" .key "path" (printf "%s-%s" $server $file) -}}
{{- $sources = append $sources (dict "secret" (dict "name" .name "items" (list $item))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $of.caConfigMap -}}
{{- if .name -}}
{{- $item := dict "key" .key "path" (printf "%s-ca" $server) -}}
{{- $sources = append $sources (dict "configMap" (dict "name" .name "items" (list $item))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}
