// Command yaml-golden writes what Kubernetes' own YAML library makes of each
// input of tests/fixtures/yaml-golden.json, in place. README.md says how.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"strings"

	k8s "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

type golden struct {
	Name  string            `json:"name"`
	Input string            `json:"input"`
	JSON  []json.RawMessage `json:"json,omitempty"`
	Error string            `json:"error,omitempty"`
	// Stricter says why Bowline refuses what the library reads.
	Stricter string `json:"stricter,omitempty"`
	// Gentler says why Bowline reads what kubectl refuses; the value is what
	// the library makes of the input as a whole.
	Gentler string `json:"gentler,omitempty"`
}

// documents reads as kubectl does: split by lines, a chunk that begins with a
// brace as JSON first, documents that are null left out.
func documents(input string) (found []json.RawMessage, err error) {
	reader := k8s.NewYAMLReader(bufio.NewReader(strings.NewReader(input)))
	for {
		chunk, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		values, err := values(chunk)
		if err != nil {
			return nil, err
		}
		for _, value := range values {
			if !bytes.Equal(bytes.TrimSpace(value), []byte("null")) {
				found = append(found, value)
			}
		}
	}
}

func values(chunk []byte) (found []json.RawMessage, err error) {
	if k8s.IsJSONBuffer(chunk) {
		decoder := json.NewDecoder(bytes.NewReader(chunk))
		for {
			var value any
			decoder.UseNumber()
			if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
				return found, nil
			} else if err != nil {
				found = nil
				break
			}
			text, _ := json.Marshal(value)
			found = append(found, text)
		}
	}
	// Strict mode refuses duplicate keys, as Bowline does. It refuses every
	// override by a merge too, which Bowline does not.
	convert := yaml.YAMLToJSONStrict
	if bytes.Contains(chunk, []byte("<<")) {
		convert = yaml.YAMLToJSON
	}
	value, err := convert(chunk)
	return []json.RawMessage{value}, err
}

func main() {
	path := os.Args[1]
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	var cases []golden
	if err := json.Unmarshal(text, &cases); err != nil {
		log.Fatal(err)
	}
	for i := range cases {
		cases[i].JSON, cases[i].Error = nil, ""
		if cases[i].Gentler != "" {
			value, err := yaml.YAMLToJSONStrict([]byte(cases[i].Input))
			if err != nil {
				log.Fatal(cases[i].Name, ": ", err)
			}
			cases[i].JSON = []json.RawMessage{value}
			continue
		}
		if values, err := documents(cases[i].Input); err != nil {
			cases[i].Error = strings.TrimSpace(err.Error())
		} else {
			cases[i].JSON = append([]json.RawMessage{}, values...)
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(cases); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
