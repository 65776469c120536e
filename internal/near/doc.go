// Package near finds the legal name that a wrong one was probably meant to be, for refusals and errors that say what
// would be right. How far apart two names may be is the caller's decision; how far they are is decided here.
package near
