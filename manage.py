#!/usr/bin/env python
import os
import sys

WITHOUT_SETTINGS = ("jailconf",)
"""What works where no panel is set up: it needs neither settings nor a database."""


def main() -> None:
    from jails.management import pipes

    with pipes.ending_quietly():
        run()


def run() -> None:
    if sys.argv[1:2] and sys.argv[1] in WITHOUT_SETTINGS:
        from jails.management.commands.jailconf import Command

        Command().run_from_argv(sys.argv)
        return
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panel.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
