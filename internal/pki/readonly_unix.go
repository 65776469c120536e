//go:build unix

package pki

import "syscall"

// errReadOnly is what a read-only file system answers.
var errReadOnly error = syscall.EROFS
