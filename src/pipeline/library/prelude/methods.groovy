// Methods that take a closure. The closure may run steps, so they are Groovy and not part of the machine.

def $spread(self, c) {
    if (self == null) {
        return null
    }
    def out = []
    for (x in self) {
        out.add(c(x))
    }
    return out
}

// `new Name(field: value)`
def $fill(self, pairs) {
    for (p in pairs) {
        self."${p.key}" = p.value
    }
}

def m_each(self, c) {
    for (x in self) {
        c(x)
    }
    return self
}

def m_forEach(self, c) {
    for (x in self) {
        c(x)
    }
}

def m_reverseEach(self, c) {
    for (x in self.toList().reverse()) {
        c(x)
    }
    return self
}

def m_eachWithIndex(self, c) {
    def i = 0
    def apart = self instanceof Map && $arity(c) == 3
    for (x in self) {
        apart ? c(x.key, x.value, i) : c(x, i)
        i = i + 1
    }
    return self
}

def m_collect(self, c = null, d = null) {
    def out = d == null ? [] : c
    def f = d == null ? c : d
    for (x in self) {
        out.add(f == null ? x : f(x))
    }
    return out
}

def m_collectMany(self, c) {
    def out = []
    for (x in self) {
        out.addAll(c(x))
    }
    return out
}

def m_collectEntries(self, c = null) {
    def out = [:]
    for (x in self) {
        def e = c == null ? x : c(x)
        if (e instanceof Map) {
            out.putAll(e)
        } else if (e instanceof Map.Entry) {
            out.put(e.key, e.value)
        } else if (e != null) {
            out.put(e[0], e[1])
        }
    }
    return out
}

def m_find(self, a = null, c = null) {
    if (c != null) {
        for (m in $matcher(self, a)) {
            return c(m)
        }
        return null
    }
    for (x in self) {
        if (a == null ? x : a(x)) {
            return x
        }
    }
    return null
}

def m_findResult(self, c) {
    for (x in self) {
        def r = c(x)
        if (r != null) {
            return r
        }
    }
    return null
}

def m_findResults(self, c) {
    def out = []
    for (x in self) {
        def r = c(x)
        if (r != null) {
            out.add(r)
        }
    }
    return out
}

def m_findAll(self, a, c = null) {
    if (c != null) {
        return m_collect($matcher(self, a), c)
    }
    if (self instanceof Map) {
        def map = [:]
        for (x in self) {
            if (a(x)) {
                map.put(x.key, x.value)
            }
        }
        return map
    }
    def out = self instanceof Set ? [].toSet() : []
    for (x in self) {
        if (a(x)) {
            out.add(x)
        }
    }
    return out
}

def m_grep(self, c) {
    def out = []
    for (x in self) {
        if ($isCase(c, x)) {
            out.add(x)
        }
    }
    return out
}

def m_findIndexOf(self, c) {
    def i = 0
    for (x in self) {
        if (c(x)) {
            return i
        }
        i = i + 1
    }
    return -1
}

def m_findLastIndexOf(self, c) {
    def i = 0
    def found = -1
    for (x in self) {
        if (c(x)) {
            found = i
        }
        i = i + 1
    }
    return found
}

def m_findIndexValues(self, c) {
    def i = 0
    def out = []
    for (x in self) {
        if (c(x)) {
            out.add(i)
        }
        i = i + 1
    }
    return out
}

def m_any(self, c) {
    for (x in self) {
        if (c(x)) {
            return true
        }
    }
    return false
}

def m_every(self, c) {
    for (x in self) {
        if (!c(x)) {
            return false
        }
    }
    return true
}

def m_count(self, c) {
    def n = 0
    for (x in self) {
        if (c(x)) {
            n = n + 1
        }
    }
    return n
}

def m_sum(self, c, d = null) {
    def total = d == null ? null : c
    def f = d == null ? c : d
    for (x in self) {
        def v = f(x)
        total = total == null ? v : total + v
    }
    return total
}

def m_inject(self, a, c = null) {
    def first = c == null
    def f = first ? a : c
    def acc = first ? null : a
    for (x in self) {
        acc = first ? x : f(acc, x)
        first = false
    }
    return acc
}

def m_groupBy(self, c) {
    def out = [:]
    for (x in self) {
        def key = c(x)
        if (self instanceof Map) {
            if (!out.containsKey(key)) {
                out.put(key, [:])
            }
            out.get(key).put(x.key, x.value)
        } else {
            if (!out.containsKey(key)) {
                out.put(key, [])
            }
            out.get(key).add(x)
        }
    }
    return out
}

def m_countBy(self, c) {
    def out = [:]
    for (x in self) {
        def key = c(x)
        out.put(key, (out.get(key) ?: 0) + 1)
    }
    return out
}

def m_split(self, c) {
    def yes = []
    def no = []
    for (x in self) {
        (c(x) ? yes : no).add(x)
    }
    return [yes, no]
}

def m_takeWhile(self, c) {
    def out = []
    for (x in self) {
        if (!c(x)) {
            break
        }
        out.add(x)
    }
    return $like(self, out)
}

// A part of a text or map is one, too.
def $like(self, items) {
    return self instanceof String ? items.join() : self instanceof Map ? m_collectEntries(items) : items
}

def m_dropWhile(self, c) {
    def out = []
    def on = false
    for (x in self) {
        on = on || !c(x)
        if (on) {
            out.add(x)
        }
    }
    return $like(self, out)
}

def m_withIndex(self, c) {
    def out = []
    def i = 0
    for (x in self) {
        out.add(c(x, i))
        i = i + 1
    }
    return out
}

def m_removeIf(self, c) {
    def gone = []
    for (x in self) {
        if (c(x)) {
            gone.add(x)
        }
    }
    for (x in gone) {
        self instanceof Map ? self.remove(x.key) : self.removeElement(x)
    }
    return !gone.isEmpty()
}

def m_removeAll(self, c) {
    return m_removeIf(self, c)
}

def m_retainAll(self, c) {
    return m_removeIf(self, { !c(it) })
}

def m_computeIfAbsent(self, key, c) {
    if (self.get(key) == null) {
        self.put(key, c(key))
    }
    return self.get(key)
}

def $putDefault(map, key, c) {
    def value = c(key)
    map.put(key, value)
    return value
}

def m_sort(self, c, d = null) {
    def f = d == null ? c : d
    def change = d == null || c
    if (self instanceof Map) {
        def out = [:]
        for (x in $mergeSort(self.entrySet().toList(), f)) {
            out.put(x.key, x.value)
        }
        return out
    }
    def sorted = $mergeSort(self.toList(), f)
    if (change && self instanceof List) {
        for (int i = 0; i < sorted.size(); i++) {
            self.set(i, sorted.get(i))
        }
        return self
    }
    return sorted
}

def m_toSorted(self, c) {
    return m_sort(self, false, c)
}

def $mergeSort(items, c) {
    def order = $arity(c) > 1 ? { a, b -> c(a, b) } : { a, b -> c(a) <=> c(b) }
    def width = 1
    def n = items.size()
    def from = items
    while (width < n) {
        def to = []
        for (int start = 0; start < n; start += 2 * width) {
            def i = start
            def middle = $least(start + width, n)
            def j = middle
            def end = $least(start + 2 * width, n)
            while (i < middle || j < end) {
                if (j >= end || i < middle && order(from.get(i), from.get(j)) <= 0) {
                    to.add(from.get(i))
                    i = i + 1
                } else {
                    to.add(from.get(j))
                    j = j + 1
                }
            }
        }
        from = to
        width = width * 2
    }
    return from
}

def $least(a, b) {
    return a < b ? a : b
}

def m_max(self, c) {
    return $best(self, c, 1)
}

def m_min(self, c) {
    return $best(self, c, -1)
}

def $best(self, c, sign) {
    def two = $arity(c) > 1
    def first = true
    def best = null
    for (x in self) {
        if (first || (two ? c(x, best) : c(x) <=> c(best)) * sign > 0) {
            best = x
            first = false
        }
    }
    return best
}

def m_unique(self, c, d = null) {
    def f = d == null ? c : d
    def two = $arity(f) > 1
    def out = []
    def keys = []
    for (x in self) {
        def seen = false
        if (two) {
            for (y in out) {
                if (f(x, y) == 0) {
                    seen = true
                    break
                }
            }
        } else {
            def key = f(x)
            seen = keys.contains(key)
            keys.add(key)
        }
        if (!seen) {
            out.add(x)
        }
    }
    if (d == null || c) {
        self.clear()
        self.addAll(out)
        return self
    }
    return out
}

def m_toUnique(self, c) {
    return m_unique(self, false, c)
}

def m_times(self, c) {
    for (int i = 0; i < self; i++) {
        c(i)
    }
}

def m_upto(self, last, c) {
    for (def i = self; i <= last; i++) {
        c(i)
    }
}

def m_downto(self, last, c) {
    for (def i = self; i >= last; i--) {
        c(i)
    }
}

def m_step(self, last, by, c) {
    for (def i = self; by > 0 ? i < last : i > last; i += by) {
        c(i)
    }
}

def m_with(self, c) {
    return $with(self, c)
}

def m_tap(self, c) {
    $with(self, c)
    return self
}

def m_eachLine(self, a, c = null) {
    def f = c == null ? a : c
    def i = c == null ? 0 : a
    def r = null
    for (line in self.readLines()) {
        r = $arity(f) > 1 ? f(line, i) : f(line)
        i = i + 1
    }
    return r
}

def m_eachMatch(self, pattern, c) {
    for (m in $matcher(self, pattern)) {
        c(m)
    }
    return self
}

def m_replaceAll(self, pattern, c) {
    return $replace(self, pattern, c, false)
}

def m_replaceFirst(self, pattern, c) {
    return $replace(self, pattern, c, true)
}

def $replace(self, pattern, c, once) {
    def m = $matcher(self, pattern)
    def out = new StringBuilder()
    def at = 0
    while (m.find()) {
        out.append(self.substring(at, m.start()))
        def groups = []
        for (int i = 0; i <= m.groupCount(); i++) {
            groups.add(m.group(i))
        }
        out.append(groups.size() == 1 ? c(groups.get(0)) : $arity(c) == 1 ? c(groups) : c(*groups))
        at = m.end()
        if (once) {
            break
        }
    }
    out.append(self.substring(at))
    return out.toString()
}

def m_takeUntil(self, c) {
    return m_takeWhile(self, { !c(it) })
}

def m_getOrElse(self, c) {
    return self == null ? c() : self
}
