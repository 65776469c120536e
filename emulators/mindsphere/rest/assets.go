package rest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
)

// asset is the shape of the Asset Manager's assets.
type asset struct {
	AssetID     string `json:"assetId"`
	TenantID    string `json:"tenantId"`
	Name        string `json:"name"`
	TypeID      string `json:"typeId"`
	ParentID    string `json:"parentId,omitempty"`
	ExternalID  string `json:"externalId,omitempty"`
	Description string `json:"description,omitempty"`
	ETag        int    `json:"etag"`
}

func assetOf(a mindsphere.Asset) asset {
	return asset{AssetID: a.AssetID, TenantID: a.TenantID, Name: a.Name, TypeID: a.TypeID, ParentID: a.ParentID, ExternalID: a.ExternalID, Description: a.Description}
}

// listAssets answers with the assets that match filter: an object of field and value, such as
// {"externalId":"camexia_dev"}, or of field and {"eq":value}.
func (c *call) listAssets() {
	filter := map[string]string{}
	if text := c.req.URL.Query().Get("filter"); text != "" {
		var raw map[string]any
		if err := json.Unmarshal([]byte(text), &raw); err != nil {
			c.fail(http.StatusBadRequest, "mdsp.core.generic.invalidParameter", `filter is no JSON object such as {"externalId":"…"}`)
			return
		}
		for field, v := range raw {
			if op, ok := v.(map[string]any); ok && len(op) == 1 {
				v = op["eq"]
			}
			value, ok := v.(string)
			if _, known := fieldsOf(mindsphere.Asset{})[field]; !ok || !known {
				c.fail(http.StatusBadRequest, "mdsp.core.generic.invalidParameter", fmt.Sprintf("filter: fakecloud compares %s with a text, not %q", strings.Join(slices.Sorted(maps.Keys(fieldsOf(mindsphere.Asset{}))), ", "), clip(field)))
				return
			}
			filter[field] = value
		}
	}
	assets := []asset{}
	for _, a := range c.svc.Assets(c.tenant) {
		fields, matches := fieldsOf(a), true
		for field, value := range filter {
			matches = matches && fields[field] == value
		}
		if matches {
			assets = append(assets, assetOf(a))
		}
	}
	c.list("assets", assets, len(assets))
}

func fieldsOf(a mindsphere.Asset) map[string]string {
	return map[string]string{"assetId": a.AssetID, "externalId": a.ExternalID, "name": a.Name, "typeId": a.TypeID, "parentId": a.ParentID}
}

func (c *call) getAsset() {
	id := c.req.PathValue("id")
	a, ok := c.svc.Asset(c.tenant, id)
	if !ok {
		c.missing("asset", id)
		return
	}
	c.reply(http.StatusOK, assetOf(a))
}

// The number of records of one answer ("IoT Time Series").
const maxRecords = 2000

// readSeries answers with the records of an aspect, one for each time: {"_time":…,"{variable}":…,"{variable}_qc":…}.
// Without from and to it is the latest one.
func (c *call) readSeries() {
	id, aspect := c.req.PathValue("asset"), c.req.PathValue("aspect")
	if _, ok := c.svc.Asset(c.tenant, id); !ok {
		c.missing("asset", id)
		return
	}
	q := c.req.URL.Query()
	var bounds [2]time.Time
	for i, name := range []string{"from", "to"} {
		if text := q.Get(name); text != "" {
			t, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				c.fail(http.StatusBadRequest, "mdsp.core.generic.invalidParameter", name+" is no time such as 2026-01-01T00:00:00.000Z")
				return
			}
			bounds[i] = t
		}
	}
	limit := maxRecords
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxRecords {
			c.fail(http.StatusBadRequest, "mdsp.core.generic.invalidParameter", fmt.Sprintf("limit is not between 1 and %d", maxRecords))
			return
		}
		limit = n
	}
	records := recordsOf(c.svc.AspectSeries(c.tenant, id, aspect, bounds[0], bounds[1]), q.Get("select"))
	latest := q.Get("from") == "" && q.Get("to") == ""
	if latest || q.Get("sort") == "desc" {
		slices.Reverse(records)
	}
	if latest {
		limit = 1
	}
	c.reply(http.StatusOK, records[:min(limit, len(records))])
}

// recordsOf joins the variables of an aspect by time; selected names some of them, separated by commas.
func recordsOf(series map[string][]mindsphere.Point, selected string) []map[string]any {
	byTime := map[time.Time]map[string]any{}
	for variable, points := range series {
		if selected != "" && !slices.Contains(strings.Split(selected, ","), variable) {
			continue
		}
		for _, p := range points {
			r := byTime[p.Time]
			if r == nil {
				r = map[string]any{"_time": p.Time.UTC().Format(time.RFC3339Nano)}
				byTime[p.Time] = r
			}
			r[variable] = typed(p)
			if p.QualityCode != "" {
				r[variable+"_qc"] = p.QualityCode
			}
		}
	}
	records := make([]map[string]any, 0, len(byTime))
	times := slices.Collect(maps.Keys(byTime))
	sort.Slice(times, func(i, j int) bool { return times[i].Before(times[j]) })
	for _, at := range times {
		records = append(records, byTime[at])
	}
	return records
}

// typed returns a value as JSON has it.
func typed(p mindsphere.Point) any {
	switch p.DataType {
	case "DOUBLE", "INT", "LONG":
		if n := json.Number(p.Value); json.Valid([]byte(n)) {
			return n
		}
	case "BOOLEAN":
		return p.Value == "true"
	}
	return p.Value
}

// download answers with a version 4 model; the signature in the address is the permission.
func (c *call) download() {
	document, err := c.svc.Download(c.req.PathValue("id"), c.req.URL.Query().Get("signature"))
	if err != nil {
		c.fail(http.StatusForbidden, "mdsp.core.generic.forbidden", "the address is not one that an agent was given by this instance")
		return
	}
	c.reply(http.StatusOK, document)
}

// token answers like the token service for applications. Who knows a tenant's name gets its token.
func (c *call) token() {
	var want struct {
		HostTenant string `json:"hostTenant"`
		UserTenant string `json:"userTenant"`
	}
	if !c.json(&want) {
		return
	}
	tenant := want.UserTenant
	if tenant == "" {
		tenant = want.HostTenant
	}
	token, err := c.svc.TenantToken(tenant)
	if err != nil {
		c.refused(err)
		return
	}
	c.reply(http.StatusOK, token)
}
