package main

// environment lists the variables of a target, in the order in which a reader wants them. Names are those
// of the SDKs' own samples and end-to-end suites.
func (i *instance) environment(f *envFlags, root string) ([]variable, error) {
	if f.target == "huawei" {
		return i.huaweiVariables(f, root)
	}
	known, err := i.facts(f)
	if err != nil {
		return nil, err
	}
	all := trustVariables(f.target, root)
	all = append(all,
		variable{"PROVISIONING_HOST", known.dpsHost, "DPS"},
		variable{"PROVISIONING_IDSCOPE", known.scope, ""},
		variable{"PROVISIONING_REGISTRATION_ID", known.id, ""},
		variable{"PROVISIONING_SYMMETRIC_KEY", known.key, "the device's key, derived from a group key unless it is enrolled itself"})
	switch f.target {
	case "node":
		all = append(all, variable{"ID_SCOPE", known.scope, "of register_x509.js"})
	case "dotnet":
		all = append(all,
			variable{"DPS_GLOBALDEVICEENDPOINT", known.dpsHost, "of the end-to-end tests"},
			variable{"DPS_IDSCOPE", known.scope, ""})
	case "java", "c", "github":
		all = append(all,
			variable{"IOTHUB_DEVICE_DPS_ENDPOINT", known.dpsHost, "of the Plug and Play samples"},
			variable{"IOTHUB_DEVICE_DPS_ID_SCOPE", known.scope, ""},
			variable{"IOTHUB_DEVICE_DPS_DEVICE_ID", known.id, ""},
			variable{"IOTHUB_DEVICE_DPS_DEVICE_KEY", known.key, ""})
	}
	all = append(all,
		variable{"IOTHUB_DEVICE_CONNECTION_STRING", known.connection, "IoT Hub, as device " + known.device},
		variable{"IOTHUB_CONNECTION_STRING", known.service, "IoT Hub, as a service"},
		variable{"PROVISIONING_CONNECTION_STRING", known.dpsService, "DPS, as a service"})
	var given []variable
	for _, v := range all {
		if v.value != "" {
			given = append(given, v)
		}
	}
	return given, nil
}

// trustVariables make a target trust the server root, as far as variables can.
func trustVariables(target, root string) []variable {
	always := variable{"FAKECLOUD_CA_FILE", root, "server root"}
	// OpenSSL's own variable: the Python SDK calls load_default_certs when server_verification_cert is
	// not given, and .NET on Linux reads it too.
	openssl := variable{"SSL_CERT_FILE", root, "trusted roots; these alone while it is set"}
	requests := variable{"REQUESTS_CA_BUNDLE", root, "for HTTPS by requests"}
	node := variable{"NODE_EXTRA_CA_CERTS", root, "trusted beside the usual roots"}
	switch target {
	case "python", "az":
		return []variable{always, openssl, requests}
	case "node":
		return []variable{always, node}
	case "dotnet", "huawei":
		return []variable{always, openssl}
	case "java":
		return []variable{always, {"JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore=" + trustStore(root) + " -Djavax.net.ssl.trustStorePassword=changeit",
			"make the trust store first: fakecloud trust --for java"}}
	case "github":
		return []variable{always, node, requests}
	}
	return []variable{always}
}
