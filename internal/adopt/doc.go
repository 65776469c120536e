// Package adopt works out what a world lacks for a refused client to get in: the hub that it asks for, its
// ID scope, its CA, its thumbprint. It is a pure function over a world and what the client has shown, and
// it never guesses a secret: who signs with a key that the world does not have cannot be adopted.
package adopt
