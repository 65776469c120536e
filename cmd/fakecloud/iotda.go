package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/clientkit/iotda"
)

func (a *app) iotdaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "iotda",
		Short:   "Huawei Cloud IoTDA: the client id generator, and what its console does to a device",
		Example: "  fakecloud iotda clientid demo_node1 12345678\n  fakecloud iotda log demo_node1 on\n  fakecloud iotda config demo_node1 '{\"period\":5}'",
		RunE: func(cmd *cobra.Command, args []string) error {
			return usagef("iotda wants a command: clientid, log or config%s", help(cmd, nearCommands(cmd, args)))
		},
	}
	cmd.AddCommand(a.clientIDCommand(), a.logConfigCommand(), a.configUpdateCommand())
	return cmd
}

// clientID is `fakecloud iotda clientid`.
type clientID struct {
	sign, at, format, secretFile string
}

func (a *app) clientIDCommand() *cobra.Command {
	c := &clientID{}
	cmd := &cobra.Command{
		Use:   "clientid DEVICE_ID [SECRET]",
		Short: "The client id, user name and password of a device, as Huawei's client id generator makes them",
		Long: "Makes what the client id generator of Huawei's tutorials makes, without a network. The password is the hexadecimal " +
			"HMAC of the secret with the time stamp as key. A device with a certificate leaves the password out.",
		Example: `  fakecloud iotda clientid demo_node1 12345678
  fakecloud iotda clientid demo_node1 --secret-file secret.txt --sign 1
  fakecloud iotda clientid demo_x509
  eval mosquitto_pub "$(fakecloud iotda clientid demo_node1 12345678 --format mosquitto)" -h 127.0.0.1 -t '$oc/devices/demo_node1/sys/properties/report' -m '{}'`,
		Args: positional(cobra.RangeArgs(1, 2)),
		RunE: func(_ *cobra.Command, args []string) error { return c.run(a, args) },
	}
	f := cmd.Flags()
	f.StringVar(&c.sign, "sign", "0", "sign type: 0 the time stamp is not judged, 1 it must be the platform's hour, 2 as 1 with SM3")
	f.StringVar(&c.at, "at", "", "the time, as 2018-07-24T17:56:20Z, or the stamp itself, as 2018072417 (default: now)")
	f.StringVar(&c.format, "format", "text", "text, json, or mosquitto: options for mosquitto_pub and mosquitto_sub")
	f.StringVar(&c.secretFile, "secret-file", "", "file with the secret; - is the standard input")
	offer(cmd, "sign", "0", "1", "2")
	offer(cmd, "format", "text", "json", "mosquitto")
	return cmd
}

func (c *clientID) run(a *app, args []string) error {
	if err := oneOf("format", c.format, "text", "json", "mosquitto"); err != nil {
		return err
	}
	sign, err := signType(c.sign)
	if err != nil {
		return err
	}
	at, err := c.time()
	if err != nil {
		return err
	}
	secret, has, err := c.secret(a, args)
	if err != nil {
		return err
	}
	login, err := iotda.GenerateLogin(args[0], secret, sign, at)
	if err != nil {
		return usagef("%w", err)
	}
	if !has {
		login.Password = ""
	}
	return c.print(a.out, login)
}

func signType(text string) (iotda.SignType, error) {
	if err := oneOf("sign", text, "0", "1", "2"); err != nil {
		return 0, err
	}
	return iotda.SignType(text[0]), nil
}

func (c *clientID) time() (time.Time, error) {
	if c.at == "" {
		return time.Now(), nil
	}
	for _, layout := range []string{"2006010215", time.RFC3339} {
		if t, err := time.Parse(layout, c.at); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--at is %q, expected a time like 2018-07-24T17:56:20Z, or a stamp like 2018072417 (UTC, to the hour)", c.at)
}

// secret is the argument's, or that of --secret-file.
func (c *clientID) secret(a *app, args []string) (secret string, has bool, err error) {
	switch {
	case len(args) == 2 && c.secretFile != "":
		return "", false, usagef("the secret is an argument or in --secret-file, not both")
	case len(args) == 2:
		return args[1], true, nil
	case c.secretFile == "":
		return "", false, nil
	}
	var text []byte
	if c.secretFile == "-" {
		text, err = io.ReadAll(io.LimitReader(a.in, 1<<16))
	} else {
		text, err = readFile("--secret-file", c.secretFile)
	}
	secret = strings.TrimSpace(string(text))
	if err == nil && secret == "" {
		err = usagef("--secret-file %s is empty", c.secretFile)
	}
	return secret, true, err
}

func (c *clientID) print(out io.Writer, l iotda.Login) error {
	var err error
	switch c.format {
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		err = e.Encode(map[string]string{"clientId": l.ClientID, "username": l.Username, "password": l.Password})
	case "mosquitto":
		_, err = fmt.Fprintf(out, "-i %s -u %s", l.ClientID, l.Username)
		if err == nil && l.Password != "" {
			_, err = fmt.Fprintf(out, " -P %s", l.Password)
		}
		if err == nil {
			_, err = fmt.Fprintln(out)
		}
	default:
		password := l.Password
		if password == "" {
			password = "(none: the certificate is the proof)"
		}
		_, err = fmt.Fprintf(out, "ClientId  %s\nUsername  %s\nPassword  %s\n", l.ClientID, l.Username, password)
	}
	return err
}
