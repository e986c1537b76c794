"""Values that no field for a name, a number or a choice may take."""

HOSTILE = {
    "shell": "x; rm -rf /",
    "substitution": "$(reboot)",
    "backtick": "`reboot`",
    "quotes": "a\"b'c",
    "newline": "a\nb",
    "carriage return": "a\rb",
    "dots": "../../etc/passwd",
    "slash": "a/b",
    "nul": "a\0b",
    "long": "x" * 5000,
    "look-alike": "аcme",  # the first letter is Cyrillic
    "right-to-left": "a\u202eb",
    "zero width": "a\u200bb",
    "jail.conf": "a { path = /; }",
    "zfs": "a@b%recv",
    "markup": "<script>alert(1)</script>",
    "option": "--all",
    "format": "%s%n{0}",
}
