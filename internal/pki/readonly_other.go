//go:build !unix

package pki

import "io/fs"

// errReadOnly is what a read-only file system answers.
var errReadOnly = fs.ErrPermission
