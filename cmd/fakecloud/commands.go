package main

import "github.com/spf13/cobra"

// commands lists every command; each has a file of its own.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.serveCommand(),
		a.demoCommand(),
		a.runCommand(),
		a.deviceCommand(),
		a.swarmCommand(),
		a.eventsCommand(),
		a.explainCommand(),
		a.rulesCommand(),
		a.pkiCommand(),
		a.iotdaCommand(),
		a.devicesCommand(),
		a.hubCommand(),
		a.clockCommand(),
		a.edgeCommand(),
		a.faultCommand(),
		a.scenariosCommand(),
		a.resetCommand(),
		a.snapshotCommand(),
		a.addCommand(),
		a.adoptCommand(),
		a.worldCommand(),
		a.hostsCommand(),
		a.envCommand(),
		a.trustCommand(),
		a.doctorCommand(),
		a.healthCommand(),
		a.versionCommand(),
	}
}
