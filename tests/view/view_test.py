#!/usr/bin/env python3
"""The viewer in a real browser, over real models and over an API that misbehaves.

    view_test.py BUILD SOURCE [unittest arguments]

BUILD holds the program. Without Chromium and Selenium all of it is skipped, by name. Pictures of what
was seen stay in BUILD/view. With MACADAM_WRITE_GOLDENS=1 they become what is expected. With
MACADAM_VIEW_WORLD=FOLDER the same is done over FOLDER/streets (any data set), FOLDER/runs/first and
FOLDER/runs/second, and pictures are only kept.
"""

import importlib.util
import os
import shutil
import sys
import unittest

os.environ["MACADAM_VIEW_BUILD"], os.environ["MACADAM_VIEW_SOURCE"] = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))


def missing():
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        return "chromium, chromium-driver"
    return None if importlib.util.find_spec("selenium") else "python3-selenium"


def main():
    lack = missing()
    if lack:
        print(f"the viewer's tests need {lack}")
        return
    import world
    world.Browser.world = world.World()
    try:
        tests = unittest.main(module="pages", verbosity=1, exit=False)
    finally:
        world.Browser.world.close()
    sys.exit(not tests.result.wasSuccessful())


if __name__ == "__main__":
    main()
