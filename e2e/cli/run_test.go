//go:build unix

package cli

import (
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// runBounded runs a command that has to end by itself.
func runBounded(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		_ = cmd.Process.Kill() // gone already
		<-ended
		return fmt.Errorf("%s does not end", strings.Join(cmd.Args, " "))
	}
}
