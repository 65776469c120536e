package rest

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// devops are the calls of upgrade packages, batch tasks, device groups, queries and AMQP queues.
var devops = map[string]operation{
	"POST " + base + "/ota-upgrades/packages":             createPackage,
	"GET " + base + "/ota-upgrades/packages":              listPackages,
	"GET " + base + "/ota-upgrades/packages/{package}":    showPackage,
	"DELETE " + base + "/ota-upgrades/packages/{package}": deletePackage,

	"POST " + base + "/batchtasks":                createTask,
	"GET " + base + "/batchtasks":                 listTasks,
	"GET " + base + "/batchtasks/{task}":          showTask,
	"DELETE " + base + "/batchtasks/{task}":       deleteTask,
	"POST " + base + "/batchtasks/{task}/confirm": confirmTask,
	"POST " + base + "/batchtasks/{task}/stop":    changeTask((*iotda.Service).StopTask),
	"POST " + base + "/batchtasks/{task}/retry":   changeTask((*iotda.Service).RetryTask),

	"POST " + base + "/device-group":                       createGroup,
	"GET " + base + "/device-group":                        listGroups,
	"GET " + base + "/device-group/{group}":                showGroup,
	"PUT " + base + "/device-group/{group}":                updateGroup,
	"DELETE " + base + "/device-group/{group}":             deleteGroup,
	"POST " + base + "/device-group/{group}/action":        groupAction,
	"GET " + base + "/device-group/{group}/devices":        groupDevices,
	"POST " + base + "/devices/{device}/list-device-group": groupsOf,
	"POST " + base + "/search/query-devices":               queryDevices,
	"POST " + base + "/amqp-queues":                        createQueue,
	"GET " + base + "/amqp-queues":                         listQueues,
	"GET " + base + "/amqp-queues/{queue}":                 showQueue,
	"DELETE " + base + "/amqp-queues/{queue}":              deleteQueue,
	"POST " + base + "/auth/accesscode":                    accessCode,
	"POST " + base + "/tunnels":                            createTunnel,
	"GET " + base + "/tunnels":                             listTunnels,
	"GET " + base + "/tunnels/{tunnel}":                    showTunnel,
	"PUT " + base + "/tunnels/{tunnel}":                    closeTunnel,
	"DELETE " + base + "/tunnels/{tunnel}":                 deleteTunnel,
}

// packageView is an upgrade package as the API shows it.
type packageView struct {
	iotda.Package
	ProductName string `json:"product_name"`
	CreateTime  string `json:"create_time"`
}

func (c *call) viewPackage(p iotda.Package) packageView {
	product, _ := c.Product(c.instance, p.ProductID)
	return packageView{p, product.Name, wire.FormatTime(p.Created)}
}

func createPackage(c *call) (int, any, error) {
	var p iotda.Package
	if err := c.read(&p); err != nil {
		return 0, nil, err
	}
	p, err := c.PutPackage(c.instance, p)
	return http.StatusCreated, c.viewPackage(p), err
}

func listPackages(c *call) (int, any, error) {
	kind, product, version := c.query("package_type"), c.query("product_id"), c.query("version")
	all := slices.DeleteFunc(c.Packages(c.instance), func(p iotda.Package) bool {
		return kind != "" && p.Type != kind || product != "" && p.ProductID != product || version != "" && p.Version != version
	})
	list, page, err := paged(c, all, func(p iotda.Package) string { return p.ID })
	return http.StatusOK, object{"packages": mapped(list, c.viewPackage), "page": page}, err
}

func showPackage(c *call) (int, any, error) {
	p, err := c.Package(c.instance, c.path("package"))
	return http.StatusOK, c.viewPackage(p), err
}

func deletePackage(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeletePackage(c.instance, c.path("package"))
}

func viewTask(t iotda.Task) object {
	n := t.Counts()
	v := object{"task_id": t.ID, "task_name": t.Name, "task_type": t.Type, "status": t.Status(), "status_desc": t.Status(), "create_time": wire.FormatTime(t.Created),
		"targets":       mapped(t.Targets, func(at iotda.Target) string { return at.Device }),
		"task_progress": object{"total": len(t.Targets), "processing": n[iotda.TaskProcessing], "success": n[iotda.TaskSuccess], "fail": n[iotda.TaskFail], "waitting": n[iotda.TaskWaiting], "stopped": n[iotda.TaskStopped], "fail_wait_retry": 0, "removed": 0}}
	if len(t.Document) > 0 {
		v["document"] = t.Document
	}
	if t.Confirm {
		v["need_confirm"] = true
	}
	return v
}

func createTask(c *call) (int, any, error) {
	var ask struct {
		AppID    string          `json:"app_id"`
		Name     string          `json:"task_name"`
		Type     string          `json:"task_type"`
		Confirm  bool            `json:"need_confirm"`
		Targets  []string        `json:"targets"`
		Document json.RawMessage `json:"document"`
		Filter   struct {
			Groups []string `json:"group_ids"`
		} `json:"targets_filter"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	t, err := c.CreateTask(c.instance, iotda.NewTask{Task: iotda.Task{AppID: ask.AppID, Name: ask.Name, Type: ask.Type, Confirm: ask.Confirm, Document: ask.Document},
		Devices: ask.Targets, Groups: ask.Filter.Groups})
	return http.StatusCreated, viewTask(t), err
}

func listTasks(c *call) (int, any, error) {
	kind, app := c.query("task_type"), c.query("app_id")
	all := slices.DeleteFunc(c.Tasks(c.instance), func(t iotda.Task) bool { return kind != "" && t.Type != kind || app != "" && t.AppID != app })
	list, page, err := paged(c, all, func(t iotda.Task) string { return t.ID })
	return http.StatusOK, object{"batchtasks": mapped(list, viewTask), "page": page}, err
}

func showTask(c *call) (int, any, error) {
	t, err := c.Task(c.instance, c.path("task"))
	if err != nil {
		return 0, nil, err
	}
	list, page, err := paged(c, t.Targets, func(at iotda.Target) string { return at.Device })
	return http.StatusOK, object{"batchtask": viewTask(t), "task_details": list, "page": page}, err
}

func deleteTask(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteTask(c.instance, c.path("task"))
}

func confirmTask(c *call) (int, any, error) {
	return http.StatusOK, object{}, c.ConfirmTask(c.instance, c.path("task"))
}

func changeTask(change func(s *iotda.Service, instance, id string, targets []string) error) operation {
	return func(c *call) (int, any, error) {
		var ask struct {
			Targets []string `json:"targets"`
		}
		if len(c.body) > 0 {
			if err := c.read(&ask); err != nil {
				return 0, nil, err
			}
		}
		return http.StatusOK, object{}, change(c.Service, c.instance, c.path("task"), ask.Targets)
	}
}

func viewGroup(g iotda.Group) object {
	return object{"group_id": g.ID, "app_id": g.AppID, "name": g.Name, "description": g.Description, "super_group_id": g.Super, "group_type": g.Type}
}

func createGroup(c *call) (int, any, error) {
	var g iotda.Group
	if err := c.read(&g); err != nil {
		return 0, nil, err
	}
	g.ID, g.Devices = "", nil
	g, err := c.PutGroup(c.instance, g)
	return http.StatusCreated, viewGroup(g), err
}

func listGroups(c *call) (int, any, error) {
	name := c.query("name")
	all := slices.DeleteFunc(c.Groups(c.instance), func(g iotda.Group) bool { return name != "" && g.Name != name })
	list, page, err := paged(c, all, func(g iotda.Group) string { return g.ID })
	return http.StatusOK, object{"device_groups": mapped(list, viewGroup), "page": page}, err
}

func showGroup(c *call) (int, any, error) {
	g, err := c.Group(c.instance, c.path("group"))
	return http.StatusOK, viewGroup(g), err
}

func updateGroup(c *call) (int, any, error) {
	g, err := c.Group(c.instance, c.path("group"))
	if err != nil {
		return 0, nil, err
	}
	ask := struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	}{g.Name, g.Description}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	g.Name, g.Description = ask.Name, ask.Description
	g, err = c.PutGroup(c.instance, g)
	return http.StatusOK, viewGroup(g), err
}

func deleteGroup(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteGroup(c.instance, c.path("group"))
}

func groupAction(c *call) (int, any, error) {
	action := c.query("action_id")
	if action != "addDevice" && action != "removeDevice" {
		return 0, nil, &iotda.Error{Code: iotda.CodeInvalid, Text: "action_id: addDevice or removeDevice"}
	}
	return http.StatusOK, object{}, c.SetInGroup(c.instance, c.path("group"), c.query("device_id"), action == "addDevice")
}

func groupDevices(c *call) (int, any, error) {
	g, err := c.Group(c.instance, c.path("group"))
	if err != nil {
		return 0, nil, err
	}
	var all []iotda.Device
	for _, id := range g.Devices {
		if d, err := c.Device(c.instance, id); err == nil {
			all = append(all, d)
		}
	}
	list, page, err := paged(c, all, func(d iotda.Device) string { return d.DeviceID })
	return http.StatusOK, object{"devices": mapped(list, func(d iotda.Device) object {
		return object{"device_id": d.DeviceID, "node_id": d.NodeID, "device_name": d.Name, "product_id": d.ProductID}
	}), "page": page}, err
}

func groupsOf(c *call) (int, any, error) {
	d, err := c.Device(c.instance, c.path("device"))
	all := slices.DeleteFunc(c.Groups(c.instance), func(g iotda.Group) bool { return !slices.Contains(g.Devices, d.DeviceID) })
	return http.StatusOK, object{"device_groups": mapped(all, viewGroup)}, err
}

func viewQueue(q iotda.Queue) object {
	at := wire.FormatTime(q.Created)
	return object{"queue_id": q.ID, "queue_name": q.Name, "create_time": at, "last_modify_time": at}
}

func createQueue(c *call) (int, any, error) {
	var ask struct {
		Name string `json:"queue_name"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	q, err := c.CreateQueue(c.instance, ask.Name)
	return http.StatusCreated, viewQueue(q), err
}

func listQueues(c *call) (int, any, error) {
	name := c.query("queue_name")
	all := slices.DeleteFunc(c.Queues(c.instance), func(q iotda.Queue) bool { return name != "" && q.Name != name })
	list, page, err := paged(c, all, func(q iotda.Queue) string { return q.ID })
	return http.StatusOK, object{"queues": mapped(list, viewQueue), "page": page}, err
}

func showQueue(c *call) (int, any, error) {
	q, err := c.Queue(c.instance, c.path("queue"))
	return http.StatusOK, viewQueue(q), err
}

func deleteQueue(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteQueue(c.instance, c.path("queue"))
}

// accessCode makes the credentials that AMQP and MQTT receivers of data forwarding sign in with.
func accessCode(c *call) (int, any, error) {
	var ask struct {
		Type string `json:"type"`
	}
	if len(c.body) > 0 {
		if err := c.read(&ask); err != nil {
			return 0, nil, err
		}
	}
	if ask.Type != "" && ask.Type != "AMQP" && ask.Type != "MQTT" {
		return 0, nil, &iotda.Error{Code: iotda.CodeInvalid, Text: "type: AMQP or MQTT"}
	}
	key, code := c.AccessCode()
	return http.StatusCreated, object{"access_key": key, "access_code": code}, nil
}
