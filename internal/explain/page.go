package explain

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
)

//go:embed page.css
var style string

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"line":  Line,
	"style": func() template.CSS { return template.CSS(style) },
}).Parse(pageText))

// PagePolicy is the Content-Security-Policy of the page: nothing but its own style, and no script at all.
var PagePolicy = "default-src 'none'; style-src 'sha256-" + styleHash() + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Page writes the report as an HTML page without script. What clients sent is escaped.
func Page(w io.Writer, r Report) error { return page.Execute(w, r) }
