package rest

import (
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iotda"
)

// The part of the query language that is emulated: conditions on a device's own fields, joined by and.
var (
	selectForm = regexp.MustCompile(`(?is)^\s*select\s+\*\s+from\s+device(?:\s+where\s+(.*?))?(?:\s+order\s+by\s+\w+(?:\s+(?:asc|desc))?)?(?:\s+limit\s+(\d+)(?:\s*,\s*(\d+))?)?\s*$`)
	conditions = regexp.MustCompile(`(?i)\s+and\s+`)
	condition  = regexp.MustCompile(`(?is)^\s*([a-z_]+)\s*(=|!=|<>|like)\s*'([^']*)'\s*$`)
)

// deviceField is a field of a device by its name in queries.
func deviceField(d iotda.Device, name string) (string, bool) {
	value, ok := map[string]string{"device_id": d.DeviceID, "node_id": d.NodeID, "product_id": d.ProductID, "app_id": d.AppID, "device_name": d.Name,
		"status": d.State(), "gateway_id": d.Gateway(), "fw_version": d.FWVersion, "sw_version": d.SWVersion, "device_sdk_version": d.SDKVersion}[name]
	return value, ok
}

// queryDevices answers POST /search/query-devices.
func queryDevices(c *call) (int, any, error) {
	var ask struct {
		SQL string `json:"sql"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	found, err := search(c.Devices(c.instance), ask.SQL)
	return http.StatusOK, object{"devices": mapped(found, c.brief), "count": len(found)}, err
}

func search(all []iotda.Device, sql string) ([]iotda.Device, error) {
	invalid := func(format string, args ...any) error {
		return &iotda.Error{Code: iotda.CodeInvalid, Text: "sql: " + fmt.Sprintf(format, args...)}
	}
	parts := selectForm.FindStringSubmatch(sql)
	if parts == nil || len(sql) > 10_000 {
		return nil, invalid("select * from device [where FIELD = 'VALUE' and …] [limit OFFSET, COUNT]")
	}
	found := []iotda.Device{}
	for _, d := range all {
		fits := true
		for _, text := range conditions.Split(parts[1], -1) {
			if strings.TrimSpace(text) == "" {
				continue
			}
			m := condition.FindStringSubmatch(text)
			if m == nil {
				return nil, invalid("condition %q: FIELD = 'VALUE', != or like; or, in and functions are not emulated", clip(text))
			}
			value, known := deviceField(d, strings.ToLower(m[1]))
			if !known {
				return nil, invalid("field %q is not emulated", clip(m[1]))
			}
			fits = fits && compare(value, strings.ToLower(m[2]), m[3])
		}
		if fits {
			found = append(found, d)
		}
	}
	offset, count := 0, 10
	if parts[2] != "" {
		count, _ = strconv.Atoi(parts[2])
	}
	if parts[3] != "" {
		offset = count
		count, _ = strconv.Atoi(parts[3])
	}
	if count > 50 {
		return nil, invalid("limit %d: at most 50", count)
	}
	found = found[min(offset, len(found)):]
	return found[:min(count, len(found))], nil
}

func compare(value, operator, want string) bool {
	switch operator {
	case "=":
		return value == want
	case "like":
		ok, err := path.Match(strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "%", "*", "_", "?").Replace(want), strings.ReplaceAll(value, "/", "_"))
		return err == nil && ok
	}
	return value != want
}
