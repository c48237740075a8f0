"""The terminal: a list of notes, the text of one, and keys."""

from __future__ import annotations

import curses
import os
import select
import sys
import textwrap

import rejoin
from notebook import Notebook
from rejoin import RejoinError

LIST_WIDTH = 28
LIST_KEYS = "n new  t title  enter write  d delete  s spaces  c create space  i invite  j join  q quit"
WRITE_KEYS = "esc back to the list; everything is saved as you type"
ESCAPE, BACKSPACES, ENTERS = "\x1b", ("\x7f", "\b", curses.KEY_BACKSPACE), ("\n", "\r", curses.KEY_ENTER)


def rows_of(text: str, width: int) -> list[tuple[int, str]]:
    """The text in rows of at most that width: where each begins, and its characters."""
    rows, begin = [], 0
    for line in text.split("\n"):
        pieces = [line[at : at + width] for at in range(0, len(line), width)] or [""]
        if len(pieces[-1]) == width:
            pieces.append("")
        for piece in pieces:
            rows.append((begin, piece))
            begin += len(piece)
        begin += 1
    return rows


class Screen:
    """Draws, and does what keys say. News from other threads come through a pipe, so that both can be waited for."""

    def __init__(self, window: curses.window, notebook: Notebook) -> None:
        self.window, self.notebook = window, notebook
        self.chosen: rejoin.Document | None = None
        self.writing, self.cursor, self.message = False, 0, ""
        self._news, news = os.pipe()
        os.set_blocking(self._news, False)
        os.set_blocking(news, False)
        self._tell = news
        notebook.on_news = self._on_news
        curses.set_escdelay(25)
        curses.use_default_colors()
        window.keypad(True)
        window.nodelay(True)

    def _on_news(self) -> None:
        try:
            os.write(self._tell, b"!")
        except BlockingIOError:
            pass  # There is news already.

    def run(self) -> None:
        while True:
            self.draw()
            select.select([sys.stdin, self._news], [], [])
            try:
                os.read(self._news, 4096)
            except BlockingIOError:
                pass
            while (key := self._key()) is not None:
                self.message = ""
                try:
                    if self.writing:
                        self.write(key)
                    elif not self.command(key):
                        return
                except RejoinError as error:
                    self.message = str(error)

    def _key(self) -> str | int | None:
        try:
            return self.window.get_wch()
        except curses.error:
            return None

    # Drawing.

    def draw(self) -> None:
        notes = self.notebook.notes()
        if self.chosen not in notes:
            self.chosen, self.writing = (notes[-1] if notes else None), False
        self.notebook.select(self.chosen)
        self.cursor = self.notebook.moved(self.cursor)
        self.window.erase()
        height, width = self.window.getmaxyx()
        name = self.notebook.names.get(self.notebook.space, "Shared")
        others = self.notebook.others(self.chosen)
        with_others = f" · {others} other{'s' if others > 1 else ''} here" if others else ""
        self._put(0, 0, f" {name} ({len(notes)}) · {self.notebook.standing()}{with_others}".ljust(width), curses.A_REVERSE)
        first = max(0, notes.index(self.chosen) - (height - 4)) if self.chosen in notes else 0
        for row, note in enumerate(notes[first : first + height - 3], 1):
            mark = curses.A_BOLD | curses.A_REVERSE if note == self.chosen and not self.writing else 0
            self._put(row, 0, self.notebook.title(note)[: LIST_WIDTH - 2].ljust(LIST_WIDTH - 2), mark)
        for row in range(1, height - 2):
            self._put(row, LIST_WIDTH - 1, "│")
        place = self._draw_text(height - 3, width - LIST_WIDTH - 1)
        keys = self.message or (WRITE_KEYS if self.writing else LIST_KEYS)
        for row, line in enumerate(textwrap.wrap(keys, max(20, width - 2))[:2], height - 2):
            self._put(row, 0, " " + line, curses.A_DIM)
        if self.writing and place is not None:
            curses.curs_set(1)
            self.window.move(*place)
        else:
            curses.curs_set(0)
        self.window.refresh()

    def _draw_text(self, height: int, width: int) -> tuple[int, int] | None:
        if self.chosen is None or width < 4 or height < 1:
            return None
        text = self.notebook.text(self.chosen)
        self.cursor = min(self.cursor, len(text))
        rows = rows_of(text, width)
        at = max(row for row, (begin, _) in enumerate(rows) if begin <= self.cursor)
        first = max(0, at - height + 1) if self.writing else 0
        for row, (_, piece) in enumerate(rows[first : first + height], 1):
            self._put(row, LIST_WIDTH + 1, piece)
        return at - first + 1, LIST_WIDTH + 1 + self.cursor - rows[at][0]

    def _put(self, row: int, column: int, text: str, mark: int = 0) -> None:
        height, width = self.window.getmaxyx()
        if 0 <= row < height and column < width:
            # Control characters would move the terminal's own cursor.
            shown = "".join(character if character.isprintable() else " " for character in text)
            try:
                self.window.addnstr(row, column, shown, width - column, mark)
            except curses.error:
                pass  # The last cell of the screen cannot be written without scrolling.

    # Keys in the list.

    def command(self, key: str | int) -> bool:
        notes = self.notebook.notes()
        place = notes.index(self.chosen) if self.chosen in notes else 0
        match key:
            case "q":
                return False
            case curses.KEY_UP | "k" if notes:
                self.chosen = notes[max(0, place - 1)]
            case curses.KEY_DOWN | "l" if notes:
                self.chosen = notes[min(len(notes) - 1, place + 1)]
            case "n":
                if title := self.ask("Title: "):
                    self.chosen, self.writing, self.cursor = self.notebook.add(title), True, 0
            case "t" if self.chosen is not None:
                if title := self.ask("New title: "):
                    self.chosen["title"] = title
            case "d" if self.chosen is not None:
                if self.ask("Delete it on all devices, for good? (yes) ") == "yes":
                    self.notebook.remove(self.chosen)
            case "s":
                self._change_space()
            case "c":
                if name := self.ask("Name of the new space: "):
                    self.notebook.create_space(name)
            case "i":
                self.message = f"Good for one person: {self.notebook.invite()}"
            case "j":
                if invitation := self.ask("Invitation: "):
                    self.notebook.join(invitation)
            case _ if key in ENTERS and self.chosen is not None:
                self.notebook.select(self.chosen)
                self.writing, self.cursor = True, len(self.notebook.text(self.chosen))
        return True

    def _change_space(self) -> None:
        spaces = self.notebook.spaces()
        listed = "  ".join(f"{number} {name}" for number, (_, name) in enumerate(spaces, 1))
        answer = self.ask(f"{listed}: ")
        if answer.isdigit() and 1 <= int(answer) <= len(spaces):
            self.notebook.open_space(spaces[int(answer) - 1][0])

    def ask(self, question: str) -> str:
        """A line at the bottom; empty if it was left with escape."""
        answer = ""
        while True:
            height, width = self.window.getmaxyx()
            self._put(height - 2, 0, " " * width)
            self._put(height - 1, 0, " " * width)
            self._put(height - 2, 0, f" {question}{answer}"[-width + 1 :])
            curses.curs_set(1)
            self.window.refresh()
            select.select([sys.stdin], [], [])
            while (key := self._key()) is not None:
                if key == ESCAPE:
                    return ""
                if key in ENTERS:
                    return answer
                if key in BACKSPACES:
                    answer = answer[:-1]
                elif isinstance(key, str) and key.isprintable():
                    answer += key

    # Keys in the text.

    def write(self, key: str | int) -> None:
        note = self.chosen
        if note is None or key == ESCAPE:
            self.writing = False
            return
        self.cursor = self.notebook.moved(self.cursor)
        text = self.notebook.text(note)
        self.cursor = min(self.cursor, len(text))
        if key in BACKSPACES:
            if self.cursor > 0:
                self.cursor -= 1
                note.splice("text", self.cursor, 1)
        elif key == curses.KEY_DC and self.cursor < len(text):
            note.splice("text", self.cursor, 1)
        elif key == curses.KEY_LEFT:
            self.cursor = max(0, self.cursor - 1)
        elif key == curses.KEY_RIGHT:
            self.cursor = min(len(text), self.cursor + 1)
        elif key in (curses.KEY_UP, curses.KEY_DOWN):
            self._move_rows(text, -1 if key == curses.KEY_UP else 1)
        elif key in ENTERS or (isinstance(key, str) and key.isprintable()):
            typed = "\n" if key in ENTERS else str(key)
            note.splice("text", self.cursor, insert=typed)
            self.cursor += len(typed)

    def _move_rows(self, text: str, by: int) -> None:
        rows = rows_of(text, max(4, self.window.getmaxyx()[1] - LIST_WIDTH - 1))
        at = max(row for row, (begin, _) in enumerate(rows) if begin <= self.cursor)
        column = self.cursor - rows[at][0]
        begin, piece = rows[min(max(0, at + by), len(rows) - 1)]
        self.cursor = begin + min(column, len(piece))
