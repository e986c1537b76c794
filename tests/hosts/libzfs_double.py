"""A double of the module `libzfs`: each call it answers cites the line of libzfs.pyx (py-libzfs, commit faa4cbf) that
has it; every other call fails. `Commands` prints the same table as zfs(8) and zpool(8) do.
"""

from jails.hosts.connection import Result


class Table:
    """`pools`: name to properties. `objects`: name to properties, a value or, for user properties, (value, source)."""

    def __init__(self, pools, objects):
        self.pools = pools
        self.objects = objects

    def below(self, roots, kinds):
        """Names in the order of zfs list."""
        found = []
        for name, properties in self.objects.items():
            dataset = name.partition("@")[0]
            if properties["type"] in kinds and any(dataset == root or dataset.startswith(f"{root}/") for root in roots):
                found.append(name)
        return sorted(found)


class Strict:
    """Fails on whatever is not cited."""

    def __getattr__(self, name):
        raise AssertionError(f"libzfs: {type(self).__name__}.{name} is not cited")


class ZFSException(RuntimeError):  # line 492
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class PropertyDouble(Strict):
    def __init__(self, value):
        self.rawvalue = value  # line 1886: the literal value, `-` where there is none


class PoolDouble(Strict):
    def __init__(self, name, properties):
        self.name = name  # line 3017
        self.status = properties["health"]  # line 3033: zpool_state_to_name, as zpool list prints it
        self.properties = {key: PropertyDouble(value) for key, value in properties.items()}  # line 3155


class ZFSDouble(Strict):
    def __init__(self, table, calls):
        self._table = table
        self._calls = calls

    def __enter__(self):  # line 554
        return self

    def __exit__(self, *details):  # line 558
        self._calls.append("exit")

    @property
    def pools(self):  # line 1250: a generator
        yield from (PoolDouble(name, properties) for name, properties in self._table.pools.items())

    def datasets_serialized(self, props=None, user_props=True, datasets=None):  # line 881: a generator of trees
        assert user_props
        yield from (self._tree(name, props) for name in datasets)

    def _tree(self, name, props):  # line 768: __dataset_handles; children come in no order
        inside = (other for other in self._table.objects if other.rpartition("/")[0] == name and "@" not in other)
        data = self._data(name, props)
        return data | {"children": [self._tree(child, props) for child in sorted(inside, reverse=True)]}

    def _data(self, name, props):
        properties = {}
        for key, value in self._table.objects[name].items():
            if ":" in key:  # line 794: user properties always come, with the name of their source
                text, source = value
                properties[key] = {"value": text, "rawvalue": text, "parsed": text, "source": source.upper()}
            elif key in props:  # line 812: native ones by their name, where they are valid for the type
                properties[key] = {"value": value, "rawvalue": value, "parsed": value, "source": "NONE"}
        kind = self._table.objects[name]["type"].upper()  # line 857: the name of the enumeration
        return {"name": name, "id": name, "type": kind, "properties": properties}

    def snapshots_serialized(self, props=None, datasets=None, recursive=True):  # line 1236: a list
        assert recursive
        return [self._data(name, props) for name in reversed(self._table.below(datasets, {"snapshot"}))]


class Library(Strict):
    ZFSException = ZFSException

    def __init__(self, table):
        self._table = table
        self.calls = []

    def ZFS(self, history=True):  # line 523: history=False writes nothing into the pools' history
        assert not history
        return ZFSDouble(self._table, self.calls)


class Commands:
    """A connection to a host with that table, whose only tools are zfs and zpool."""

    def __init__(self, table):
        self._table = table
        self.commands = []

    def run(self, pipeline, *, timeout, on_output=None, limit=0):
        (words,) = pipeline.argvs
        self.commands.append(words)
        answer = {("zpool", "list"): self._zpool, ("zfs", "list"): self._list, ("zfs", "get"): self._get}
        return Result(0, "".join(f"{line}\n" for line in answer[words[:2]](words)).encode())

    def close(self): ...

    def _zpool(self, words):
        columns = words[words.index("-o") + 1].split(",")
        return (
            "\t".join({"name": name, **p}.get(key, "-") for key in columns) for name, p in self._table.pools.items()
        )

    def _list(self, words):
        kinds = set(words[words.index("-t") + 1].split(","))
        columns, *roots = words[words.index("-o") + 1 :]
        for name in self._table.below(roots or self._table.pools, kinds):
            properties = {"name": name, **self._table.objects[name]}
            yield "\t".join(properties.get(key) or "-" for key in columns.split(","))

    def _get(self, words):
        kinds = set(words[words.index("-t") + 1].split(","))
        columns, wanted, *roots = words[words.index("-o") + 1 :]
        assert columns == "name,property,value,source"
        for name in self._table.below(roots, kinds):
            for key in wanted.split(","):
                value = self._table.objects[name].get(key, "-")
                text, source = value if isinstance(value, tuple) else (value, "-")
                yield f"{name}\t{key}\t{text}\t{source}"
