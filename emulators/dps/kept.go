package dps

// recover mends an instance whose creation or removal was cut short between its two rows.
func (s *Service) recover() {
	for _, scope := range s.scopes.Keys("") {
		name, _ := s.scopes.Get(scope)
		if i, ok := s.instances.Get(name); !ok || i.IDScope != scope {
			s.scopes.Delete(scope)
		}
	}
	for _, i := range s.instances.List("") {
		if _, ok := s.scopes.Get(i.IDScope); !ok {
			s.scopes.Put(i.IDScope, i.Name)
		}
	}
}
