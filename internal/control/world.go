package control

import (
	"context"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
)

type worldInput struct {
	ContentType string `header:"Content-Type"`
	RawBody     []byte `contentType:"application/yaml"`
}

type worldOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (a *api) world() {
	get := stream(call(http.MethodGet, "/api/v1/world", "world", "The running world, keys and secrets included"), "application/yaml", "application/json")
	register(a, get, func(_ context.Context, in *struct {
		Accept string `header:"Accept" doc:"application/json for JSON; YAML otherwise"`
	}) (*worldOutput, error) {
		return a.getWorld(accepts(in.Accept, "application/json"))
	})
	put := call(http.MethodPut, "/api/v1/world", "replace-world", "Makes the world what the document says; all or nothing")
	put.MaxBodyBytes = worldLimit
	put.Errors = append(put.Errors, http.StatusUnprocessableEntity)
	register(a, put, func(ctx context.Context, in *worldInput) (*struct{}, error) {
		return nil, a.changeWorld(ctx, in, a.plane.World.Replace)
	})
	patch := call(http.MethodPatch, "/api/v1/world", "patch-world", "Adds or replaces what the document names, by id, and leaves the rest; all or nothing")
	patch.MaxBodyBytes = worldLimit
	patch.Errors = append(patch.Errors, http.StatusUnprocessableEntity)
	register(a, patch, func(ctx context.Context, in *worldInput) (*struct{}, error) {
		return nil, a.changeWorld(ctx, in, a.plane.World.Patch)
	})
}

func (a *api) getWorld(asJSON bool) (*worldOutput, error) {
	document, err := a.plane.World.Current()
	if err == nil && asJSON {
		document, err = yaml.YAMLToJSON(document)
	}
	if err != nil {
		a.log.Error("world not shown", "cause", err)
		return nil, refuse(http.StatusInternalServerError, "the world could not be written; the instance's log says why")
	}
	if asJSON {
		return &worldOutput{ContentType: "application/json", Body: document}, nil
	}
	return &worldOutput{ContentType: "application/yaml", Body: document}, nil
}

func (a *api) changeWorld(ctx context.Context, in *worldInput, change func(context.Context, []byte) error) error {
	document := in.RawBody
	if len(document) == 0 {
		return refuse(http.StatusBadRequest, "the body has to be a world document, YAML or JSON")
	}
	if media, _, err := mime.ParseMediaType(in.ContentType); err == nil && strings.HasSuffix(media, "json") {
		if document, err = yaml.JSONToYAML(document); err != nil {
			return refuse(http.StatusBadRequest, "the body is JSON, but no world document: it has to be an object")
		}
	}
	if err := change(ctx, document); err != nil {
		return refuse(http.StatusUnprocessableEntity, "the world is unchanged: "+withoutExcerpt(err.Error()))
	}
	return nil
}

// excerpt matches the lines of the submitted document with which the YAML parser illustrates an error.
var excerpt = regexp.MustCompile(`^\s*>?\s*\d+ \|`)

// withoutExcerpt takes these lines and their markers out: they may hold keys.
func withoutExcerpt(text string) string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if !excerpt.MatchString(line) && strings.Trim(line, " ^") != "" {
			kept = append(kept, strings.TrimRight(line, " "))
		}
	}
	return strings.Join(kept, "\n")
}
