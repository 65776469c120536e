//go:build !linux

package main

// releaseProgramPages does nothing: only Linux counts unused pages of the program as resident and lets go of
// them on request.
func releaseProgramPages() {}
