// bare-apply is what a benchmark is held against: the plainest program that
// brings a directory of manifests to a cluster by server-side apply. It plans
// nothing, remembers nothing and prunes nothing. No limit of the client's own
// slows it down.
//
//	bare-apply -namespace NAME -directory DIR [-in-flight 32] dry-run|apply...
//
// Each mode is a pass over all manifests. For each it prints a line of JSON:
// its name, how many requests it sent, and how many seconds they took.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const manager = "bare-apply"

// manifest is an object with where it is applied.
type manifest struct {
	object *unstructured.Unstructured
	client dynamic.ResourceInterface
}

// result is what is printed of a pass.
type result struct {
	Mode     string  `json:"mode"`
	Requests int     `json:"requests"`
	Seconds  float64 `json:"seconds"`
}

func main() {
	namespace := flag.String("namespace", "", "namespace of the objects")
	directory := flag.String("directory", "", "directory of JSON and YAML files, an object each")
	inFlight := flag.Int("in-flight", 32, "requests under way at a time")
	flag.Parse()
	if err := run(*namespace, *directory, *inFlight, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(namespace, directory string, inFlight int, modes []string) error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	config.QPS = -1
	config.UserAgent = manager
	manifests, err := read(directory)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(kinds)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	resources := map[schema.GroupVersionKind]dynamic.ResourceInterface{}
	for i := range manifests {
		kind := manifests[i].object.GroupVersionKind()
		if resources[kind] == nil {
			mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
			if err != nil {
				return err
			}
			resources[kind] = client.Resource(mapping.Resource).Namespace(namespace)
		}
		manifests[i].client = resources[kind]
	}
	for _, mode := range modes {
		options := metav1.ApplyOptions{FieldManager: manager, Force: true}
		switch mode {
		case "apply":
		case "dry-run":
			options.DryRun = []string{metav1.DryRunAll}
		default:
			return fmt.Errorf("%s is no mode: dry-run or apply", mode)
		}
		began := time.Now()
		if err := pass(manifests, inFlight, options); err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
		line, err := json.Marshal(result{mode, len(manifests), time.Since(began).Seconds()})
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return nil
}

// pass sends one request for each manifest and returns the first error.
func pass(manifests []manifest, inFlight int, options metav1.ApplyOptions) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	work := make(chan manifest)
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for one := range work {
				if ctx.Err() != nil {
					continue
				}
				if _, err := one.client.Apply(ctx, one.object.GetName(), one.object, options); err != nil {
					cancel(fmt.Errorf("%s: %w", one.object.GetName(), err))
				}
			}
		})
	}
	for _, one := range manifests {
		work <- one
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

// read reads all files below a directory; hidden ones are passed over.
func read(directory string) ([]manifest, error) {
	var manifests []manifest
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := path != directory && entry.Name()[0] == '.'
		if entry.IsDir() {
			if hidden {
				return filepath.SkipDir
			}
			return nil
		}
		switch extension := filepath.Ext(path); {
		case hidden, extension != ".json" && extension != ".yaml" && extension != ".yml":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &object.Object); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		manifests = append(manifests, manifest{object: object})
		return nil
	})
	if err == nil && len(manifests) == 0 {
		err = fmt.Errorf("%s has no manifests", directory)
	}
	return manifests, err
}
