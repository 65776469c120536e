package world

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// reader turns YAML nodes into the structs of a world and collects what is wrong on the way.
type reader struct {
	file     string // name in messages
	dir      string // where file: keys resolve
	files    bool   // whether file: keys may be read
	problems Problems
	seen     map[string]Position // where each key of the text stands
	seenIDs  map[string]Position // elements of the present document
	origins  map[string]Position // of elements and references, for Validate
	anchors  map[string]ast.Node
	inAlias  int
	expanded int
}

func (r *reader) report(node ast.Node, path, text string) {
	if len(r.problems) >= maxProblems {
		return
	}
	p := Position{File: r.file}
	if node != nil {
		p = r.position(start(node))
	}
	r.problems = append(r.problems, Problem{Position: p, Key: path, Text: text})
}

// start returns a node's first token; that of a mapping is its first key, not its first colon.
func start(node ast.Node) *token.Token {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return start(n.Values[0].Key)
		}
		return n.Start
	case *ast.MappingValueNode:
		return start(n.Key)
	}
	return node.GetToken()
}

// resolve follows anchors and aliases to the node itself; nil when that fails, which is reported.
func (r *reader) resolve(node ast.Node, path string, depth int) (resolved ast.Node, leave func()) {
	leave = func() {}
	if depth > maxDepth {
		r.report(node, path, fmt.Sprintf("nested too deeply: at most %d levels are read", maxDepth))
		return nil, leave
	}
	switch n := node.(type) {
	case *ast.AnchorNode:
		// An anchor counts only behind its own value, so that no value can contain itself.
		resolved, inner := r.resolve(n.Value, path, depth+1)
		return resolved, func() { inner(); r.anchors[n.Name.GetToken().Value] = n.Value }
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		target, ok := r.anchors[name]
		if !ok {
			r.report(node, path, "refers to the anchor "+quote(name)+", which is not defined before")
			return nil, leave
		}
		r.inAlias++
		resolved, inner := r.resolve(target, path, depth+1)
		return resolved, func() { inner(); r.inAlias-- }
	case *ast.TagNode:
		r.report(node, path, "YAML tags such as "+quote(n.Start.Value)+" have no meaning here; leave the tag out")
		return nil, leave
	}
	if r.inAlias > 0 {
		if r.expanded++; r.expanded > maxExpanded {
			r.report(node, path, fmt.Sprintf("aliases repeat more than %d values", maxExpanded))
			return nil, leave
		}
	}
	return node, leave
}

// value reads node into v as its type and f's tags ask.
func (r *reader) value(node ast.Node, v reflect.Value, f field, path string, depth int) {
	written := node
	node, leave := r.resolve(node, path, depth)
	defer leave()
	if node == nil {
		return
	}
	if path != "" && r.inAlias == 0 {
		r.seen[path] = r.position(start(written))
	}
	if _, null := node.(*ast.NullNode); null {
		if !isContainer(v.Type()) {
			r.report(written, path, "has no value; give one or leave the key out")
		}
		return
	}
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		r.value(node, fresh.Elem(), f, path, depth)
		v.Set(fresh)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		r.mapping(node, v, path, depth)
	case reflect.Slice:
		r.list(node, v, f, path, depth)
	case reflect.Map:
		if object, ok := r.any(node, path, depth).(map[string]any); ok {
			v.Set(reflect.ValueOf(object))
		} else {
			r.report(node, path, "must be a JSON object (a YAML mapping), not "+kindOf(node))
		}
	default:
		r.scalar(node, v, f, path)
	}
}

func isContainer(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Slice || t.Kind() == reflect.Map
}

// pairs returns the entries of a mapping node; ok is false for any other node.
func pairs(node ast.Node) (entries []*ast.MappingValueNode, ok bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

func (r *reader) mapping(node ast.Node, v reflect.Value, path string, depth int) {
	entries, ok := pairs(node)
	if !ok {
		r.report(node, path, "must be a mapping with keys such as "+someKeys(v.Type())+", not "+kindOf(node))
		return
	}
	fields := fieldsOf(v.Type())
	given := map[string]bool{}
	for _, entry := range entries {
		key, ok := r.key(entry, path)
		if !ok {
			continue
		}
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		if i < 0 {
			r.unknown(entry, path, key, fields)
			continue
		}
		if given[key] {
			r.report(entry.Key, join(path, key), "is given twice in the same mapping")
			continue
		}
		given[key] = true
		r.value(entry.Value, v.FieldByIndex(fields[i].index), fields[i], join(path, key), depth+1)
	}
	r.finish(v, path, given)
}

// key returns the text of an entry's key.
func (r *reader) key(entry *ast.MappingValueNode, path string) (string, bool) {
	if entry.Key.IsMergeKey() {
		r.report(entry.Key, path, "merge keys (<<) are not read; use an alias for a whole value, or write the keys out")
		return "", false
	}
	switch entry.Key.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return entry.Key.GetToken().Value, true
	}
	r.report(entry.Key, path, "keys must be plain words")
	return "", false
}

func (r *reader) unknown(entry *ast.MappingValueNode, path, key string, fields []field) {
	full := join(path, key)
	var keys []string
	for _, f := range fields {
		keys = append(keys, f.key)
	}
	r.report(entry.Key, full, "unknown key"+didYouMean(key, keys))
}

func (r *reader) list(node ast.Node, v reflect.Value, f field, path string, depth int) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		hint := "start each element with \"- \""
		if _, mapping := pairs(node); !mapping {
			hint += ", or write [a, b]"
		}
		r.report(node, path, "must be a list, not "+kindOf(node)+"; "+hint)
		return
	}
	elements := reflect.MakeSlice(v.Type(), 0, len(sequence.Values))
	f.id = false
	for i, item := range sequence.Values {
		element := reflect.New(v.Type().Elem()).Elem()
		here := r.elementPath(item, element.Type(), path, i)
		before := len(r.problems)
		r.value(item, element, f, here, depth+1)
		if r.element(item, element, here, before) {
			elements = reflect.Append(elements, element)
		}
	}
	v.Set(elements)
}

// elementPath names an element by its id where it has one, else by its index.
func (r *reader) elementPath(item ast.Node, t reflect.Type, path string, i int) string {
	byIndex := path + "[" + strconv.Itoa(i) + "]"
	id, ok := idField(t)
	if !ok {
		return byIndex
	}
	entries, _ := pairs(r.behind(item))
	for _, entry := range entries {
		text, scalar := scalarText(r.behind(entry.Value))
		if keyText, _ := scalarText(entry.Key); keyText == id.key && scalar && text != "" && len(text) <= 128 {
			return path + "[" + folded(id, text) + "]"
		}
	}
	return byIndex
}

// behind returns what an anchor marks or an alias repeats, one step each way, without complaint.
func (r *reader) behind(node ast.Node) ast.Node {
	if alias, ok := node.(*ast.AliasNode); ok {
		node = r.anchors[alias.Value.GetToken().Value]
	}
	if anchor, ok := node.(*ast.AnchorNode); ok {
		node = anchor.Value
	}
	return node
}

func folded(id field, text string) string {
	if id.fold {
		return lower(text)
	}
	return text
}

// element checks an element's id: present, and once in its list. It reports whether to keep it.
func (r *reader) element(item ast.Node, v reflect.Value, path string, before int) bool {
	id, ok := idField(v.Type())
	if !ok {
		return true
	}
	r.origins[path] = r.position(start(item))
	if v.FieldByIndex(id.index).String() == "" {
		if id.spare {
			return true
		}
		if len(r.problems) == before {
			r.report(item, path, "needs "+id.key+": "+id.doc)
		}
		return false
	}
	if first, twice := r.seenIDs[path]; twice {
		r.report(item, path, fmt.Sprintf("is given twice; the first stands in line %d", first.Line))
		return false
	}
	r.seenIDs[path] = r.position(start(item))
	return true
}

func join(path, key string) string {
	if len(key) > 64 {
		key = key[:64] + "…"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func someKeys(t reflect.Type) string {
	text := ""
	for i, f := range fieldsOf(t) {
		if i == 3 {
			break
		}
		if i > 0 {
			text += ", "
		}
		text += f.key
	}
	return text
}
