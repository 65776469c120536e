package pki

import (
	"errors"
	"fmt"
)

// ErrRequest marks errors that the caller's values have caused, as opposed to those of files and keys.
var ErrRequest = errors.New("the request is wrong")

// requestError is such an error; it reads as its cause alone.
type requestError struct{ error }

func (requestError) Is(target error) bool { return target == ErrRequest }

func (e requestError) Unwrap() error { return e.error }

func badRequest(format string, args ...any) error { return requestError{fmt.Errorf(format, args...)} }
