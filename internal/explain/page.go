package explain

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html"
	"io"
	"strings"
)

//go:embed page.css
var style string

// PagePolicy is the Content-Security-Policy of the page: nothing but its own style, and no script at all.
var PagePolicy = "default-src 'none'; style-src 'sha256-" + styleHash() + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Page writes the report as an HTML page without script. What clients sent is escaped.
//
// It is written by hand because html/template calls methods by name, which makes the linker keep every
// method of every type: three megabytes of program (docs/decisions/0003-size.md).
func Page(w io.Writer, r Report) error {
	var p pageWriter
	p.raw(`<!doctype html>` + "\n" + `<html lang="en">` + "\n" +
		`<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">` +
		`<title>fakecloud explain</title><style>` + style + `</style></head>` + "\n<body>\n")
	p.element("h1", r.Summary)
	for _, x := range r.Explanations {
		p.explanation(x)
	}
	p.list("Scenario devices", "", r.Scenarios)
	p.list("What did happen", "", r.Story)
	p.list("Near misses", "code", r.NearMisses)
	p.list("Check", "", r.Advice)
	if len(r.Events) > 0 {
		p.element("h2", "The newest events")
		p.raw("<pre>")
		for _, e := range r.Events {
			p.text(Line(&e) + "\n")
		}
		p.raw("</pre>\n")
	}
	p.raw("</body>\n</html>\n")
	_, err := io.WriteString(w, p.String())
	return err
}

// pageWriter puts a page together. Whatever does not come from this file goes through text.
type pageWriter struct{ strings.Builder }

func (p *pageWriter) raw(markup string) { p.WriteString(markup) }
func (p *pageWriter) text(s string)     { p.WriteString(html.EscapeString(s)) }

func (p *pageWriter) element(tag, s string) {
	p.raw("<" + tag + ">")
	p.text(s)
	p.raw("</" + tag + ">\n")
}

func (p *pageWriter) explanation(x Explanation) {
	p.raw("<section>\n<h2><code>")
	p.text(string(x.Rule))
	p.raw("</code> ")
	p.text(x.Title)
	p.raw("</h2>\n<dl>\n")
	source := x.Source
	if source != "" {
		source += " (" + string(x.Grade) + ")"
	}
	for _, row := range []struct{ term, open, value, end string }{
		{"when", "", x.When(), ""}, {"device", "", x.Device, ""}, {"device saw", "", x.DeviceSaw, ""},
		{"seen", "<code>", x.Seen, "</code>"}, {"expected", "<code>", x.Expected, "</code>"},
		{"what", "", x.Detail, ""}, {"why", "", x.Why, ""}, {"fix", `<span class="fix">`, x.Fix, "</span>"},
		{"source", "", source, ""}, {"assumed", "", x.Assumption, ""},
	} {
		if row.value == "" {
			continue
		}
		p.raw("<dt>" + row.term + "</dt><dd>" + row.open)
		p.text(row.value)
		p.raw(row.end + "</dd>\n")
	}
	p.raw("</dl>\n<pre>")
	for _, e := range x.Events {
		mark := "  "
		if e.Seq == x.Seq {
			mark = "> "
		}
		p.text(mark + Line(&e) + "\n")
	}
	p.raw("</pre>\n</section>\n")
}

// list writes items under a heading, each in the given element if there is one; nothing without items.
func (p *pageWriter) list(heading, tag string, items []string) {
	if len(items) == 0 {
		return
	}
	p.element("h2", heading)
	p.raw("<ul>")
	for _, item := range items {
		p.raw("<li>")
		if tag != "" {
			p.raw("<" + tag + ">")
		}
		p.text(item)
		if tag != "" {
			p.raw("</" + tag + ">")
		}
		p.raw("</li>")
	}
	p.raw("</ul>\n")
}
