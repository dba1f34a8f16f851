"""Text to syntax tree: a subset of JavaScript's expressions, read in one pass.

`views/studio/src/expr/parser.ts` is the same parser, line for line, so that both give the same errors.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import NoReturn

from tenfold_expressions import syntax
from tenfold_expressions.errors import ExpressionError, closest
from tenfold_expressions.signatures import FUNCTIONS, INSTEAD, METHODS, Signature
from tenfold_expressions.syntax import FORBIDDEN, MAX_DEPTH, MAX_NESTING, MAX_SOURCE, Arrow, Node, Spread

RESERVED = frozenset(
    re.findall(
        "[A-Za-z]+",
        "arguments await break case catch class const continue debugger default delete do else enum eval export "
        "extends finally for function if import in instanceof let new return static super switch this throw try "
        "typeof undefined var void while with yield NaN Infinity true false null",
    )
)

_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_NUMBER = re.compile(r"(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPACE = re.compile(r"[ \t\r\n]*")
_ONE_PARAMETER = re.compile(r"([A-Za-z_$][A-Za-z0-9_$]*)[ \t]*=>")
_PARAMETERS = re.compile(
    r"\([ \t\r\n]*(?:[A-Za-z_$][A-Za-z0-9_$]*[ \t\r\n]*"
    r"(?:,[ \t\r\n]*[A-Za-z_$][A-Za-z0-9_$]*[ \t\r\n]*)*(?:,[ \t\r\n]*)?)?\)[ \t]*=>"
)
_REFUSED = re.compile(
    r"//|/\*|>>>=|>>>|<<=|>>=|\*\*=|&&=|\|\|=|\?\?=|\*\*|\+\+|--|<<|>>|\+=|-=|\*=|/=|%=|&=|\|=|\^=|=(?![=>])|[&|](?![&|])|[\^~;@#\\]"
)
_SYMBOL = re.compile(r"\.\.\.|===|!==|==|!=|<=|>=|=>|&&|\|\||\?\?|\?\.(?![0-9])|[-+*/%<>!?:.,()\[\]{}]")
_ESCAPES = {
    "n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "`": "`", "$": "$", "/": "/",
}  # fmt: skip
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")

_INVISIBLE = re.compile("[\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202f\ud800-\udfff\ufeff\ufff0-\uffff]")

_PRECEDENCE = {
    "??": 1, "||": 2, "&&": 3,
    "==": 4, "!=": 4, "===": 4, "!==": 4,
    "<": 5, "<=": 5, ">": 5, ">=": 5,
    "+": 6, "-": 6, "*": 7, "/": 7, "%": 7,
}  # fmt: skip
_EQUALITY, _RELATION, _SUM = 4, 5, 6


@dataclass(frozen=True, slots=True)
class Reference:
    """A place where a name is written: read, written short in an object (`{name}`), or declared as a parameter."""

    name: str
    position: int
    slot: int | None
    short: bool = False
    inside: tuple[int, ...] = ()
    declares: bool = False


@dataclass(frozen=True, slots=True)
class Parsed:
    root: Node
    references: tuple[Reference, ...]
    slots: int


def parse_source(source: str) -> Parsed:
    if len(source) > MAX_SOURCE:
        raise ExpressionError(
            "too_large", f"this expression is {len(source)} characters long", 0, f"At most {MAX_SOURCE} are allowed."
        )
    try:
        return _Parser(source).parse()
    except RecursionError:
        raise _too_deep(0) from None


def check_name(name: str, position: int) -> None:
    """Refuse what cannot be the name of a root or a parameter."""
    _forbid(name, position)
    if name in RESERVED:
        raise ExpressionError(
            "syntax", f"`{name}` is not part of the language", position, _RESERVED_HINTS.get(name, "")
        )


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and text not in RESERVED and text not in FORBIDDEN


_RESERVED_HINTS = {
    "undefined": "Write null.",
    "function": "Write an arrow function: x => x + 1.",
    "new": "Objects are written {key: value}; dates are made by date('2024-01-31').",
    "typeof": "Compare with a value, or use num() and text().",
    "instanceof": "Compare with a value instead.",
    "in": "Use has(object, key), or list.includes(item).",
    "if": "Write condition ? this : that.",
}
_REFUSED_HINTS = {
    "=": "To compare, write ==.",
    "//": "Comments cannot be written inside an expression.",
    "/*": "Comments cannot be written inside an expression.",
    "**": "Write x * x.",
    "&": "For `and`, write &&.",
    "|": "For `or`, write ||.",
    ";": "An expression is one value; there are no statements.",
    "\\": "Names are written without escapes.",
}


def _forbid(name: str, position: int) -> None:
    if name in FORBIDDEN:
        raise ExpressionError("forbidden_name", f"`{name}` may not be used", position, "Choose another name.")


def _too_deep(position: int) -> ExpressionError:
    return ExpressionError(
        "too_large", "this expression is nested too deeply", position, "Split it, or compute it in a code node."
    )


@dataclass(slots=True)
class _Level:
    """Operands joined by operators of one precedence."""

    precedence: int
    operands: list[Node] = field(default_factory=list)
    operators: list[tuple[str, int]] = field(default_factory=list)


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.kind = "start"
        self.text = ""
        self.start = 0
        self.end = 0
        self.value: float | str = ""
        self.nesting = 0
        self.slots = 0
        self.parameters: list[dict[str, int]] = []
        self.references: list[Reference] = []

    def parse(self) -> Parsed:
        self.advance()
        if self.kind == "end":
            raise self.error("an expression is expected here", "Write a name, such as input.text, or a value.")
        root = self.expression()
        if self.kind != "end":
            raise self.unexpected()
        if syntax.depth(root) > MAX_DEPTH:
            raise _too_deep(0)
        return Parsed(root, tuple(self.references), self.slots)

    # Tokens

    def advance(self) -> None:
        space = _SPACE.match(self.source, self.end)
        self.start = space.end() if space else self.end
        if self.start >= len(self.source):
            self.kind, self.text, self.end = "end", "", len(self.source)
            return
        character = self.source[self.start]
        if name := _NAME.match(self.source, self.start):
            self.take("name", name.group())
        elif number := _NUMBER.match(self.source, self.start):
            self.number(number.group())
        elif character in "'\"":
            self.string(character)
        elif character == "`":
            self.take("template", "`")
        elif refused := _REFUSED.match(self.source, self.start):
            operator = refused.group()
            hint = _REFUSED_HINTS.get(operator, "There is no assignment." if operator.endswith("=") else "")
            raise self.error(f"`{operator}` is not part of the language", hint)
        elif symbol := _SYMBOL.match(self.source, self.start):
            self.take("symbol", symbol.group())
        else:
            raise self.error(
                f"`{_shown(character)}` is not expected here",
                "A name has letters a to z, digits, _ and $; any other key is written object['key'].",
            )

    def take(self, kind: str, text: str) -> None:
        self.kind, self.text, self.end = kind, text, self.start + len(text)

    def number(self, digits: str) -> None:
        self.take("number", digits)
        follower = self.source[self.end : self.end + 1]
        if follower and (follower.isascii() is False or follower.isalnum() or follower in "_$\\"):
            raise self.error("this number is not written in a way that is understood", "Write 12, 0.5 or 1e6.")
        value = float(digits)
        if not math.isfinite(value):
            raise self.error("this number is too large")
        self.value = value

    def string(self, quote: str) -> None:
        position, parts = self.start + 1, list[str]()
        while True:
            character = self.source[position : position + 1]
            if character in ("", "\n", "\r"):
                raise self.error("this text is not closed", f"Add {quote} at its end.")
            position += 1
            if character == quote:
                break
            if character == "\\":
                character, position = self.escape(position)
            parts.append(character)
        self.kind, self.text, self.end = "string", self.source[self.start : position], position
        self.value = self.whole_text("".join(parts))

    def escape(self, position: int) -> tuple[str, int]:
        """Read what follows a backslash; a pair of surrogates written as two escapes is one character."""
        character = self.source[position : position + 1]
        if character == "0" and not "0" <= self.source[position + 1 : position + 2] <= "9":
            return "\0", position + 1
        if character in _ESCAPES:
            return _ESCAPES[character], position + 1
        code, after = self.hexadecimal(position)
        if 0xD800 <= code < 0xDC00 and self.source[after : after + 1] == "\\":
            low, end = self.hexadecimal(after + 1)
            if 0xDC00 <= low < 0xE000:
                return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), end
        if 0xD800 <= code < 0xE000:
            raise self.half_character()
        return chr(code), after

    def hexadecimal(self, position: int) -> tuple[int, int]:
        found = _HEX.match(self.source, position)
        code = int(next(group for group in found.groups() if group), 16) if found else -1
        if not found or code > 0x10FFFF:
            raise ExpressionError(
                "syntax", "this escape is not understood", position - 1, "Write \\n, \\t, \\\\, \\' or \\u00e9."
            )
        return code, found.end()

    def whole_text(self, text: str) -> str:
        if any("\ud800" <= character < "\ue000" for character in text):
            raise self.half_character()
        return text

    def half_character(self) -> ExpressionError:
        return self.error("this text holds half a character (a lone surrogate)", "Write both halves, or \\u{1f600}.")

    def error(self, message: str, hint: str = "") -> ExpressionError:
        return ExpressionError("syntax", message, self.start, hint)

    def unexpected(self) -> ExpressionError:
        if self.kind == "end":
            return self.error("the expression ends too early", "Something is missing at its end.")
        if self.text == "=>":
            return self.error(
                "an arrow function can only be an argument", "Write it inside a call: list.map(x => x.name)."
            )
        if self.text == "{":
            return self.error("`{` is not expected here", "An arrow function gives one value: x => ({key: x}).")
        if self.kind == "template":
            return self.error("a template cannot follow a value", "Join texts with +.")
        return self.error(f"`{_shown(self.text)}` is not expected here")

    def expect(self, symbol: str) -> None:
        if self.kind != "symbol" or self.text != symbol:
            if self.kind == "end":
                raise self.error(f"`{symbol}` is missing")
            raise self.unexpected()
        self.advance()

    def at(self, symbol: str) -> bool:
        return self.kind == "symbol" and self.text == symbol

    def deeper(self) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise _too_deep(self.start)

    # Grammar

    def expression(self) -> Node:
        """condition ? value : value; else-if chains stay flat."""
        self.deeper()
        position = self.start
        branches: list[tuple[Node, Node]] = []
        value = self.operators()
        while self.at("?"):
            self.advance()
            then = self.expression()
            self.expect(":")
            branches.append((value, then))
            value = self.operators()
        self.nesting -= 1
        return syntax.Conditional(tuple(branches), value, position) if branches else value

    def operators(self) -> Node:
        levels: list[_Level] = []
        bare: list[Node] = []
        value = self.unary()
        while self.kind == "symbol" and (precedence := _PRECEDENCE.get(self.text)):
            while levels and levels[-1].precedence > precedence:
                value = self.close(levels.pop(), value, bare)
            if not levels or levels[-1].precedence < precedence:
                levels.append(_Level(precedence))
            levels[-1].operands.append(value)
            levels[-1].operators.append((self.text, self.start))
            self.advance()
            value = self.unary()
        while levels:
            value = self.close(levels.pop(), value, bare)
        return value

    def close(self, level: _Level, last: Node, bare: list[Node]) -> Node:
        first, *others = operands = (*level.operands, last)
        operator, position = level.operators[0]
        if level.precedence >= _SUM:
            rest = tuple((o, operand, at) for (o, at), operand in zip(level.operators, others, strict=True))
            return syntax.Arithmetic(first, rest, position)
        if level.precedence in (_EQUALITY, _RELATION):
            if len(level.operators) > 1:
                again, position = level.operators[1]
                raise ExpressionError(
                    "syntax", f"`{again}` cannot follow `{operator}`", position, "Write a < b && b < c."
                )
            return syntax.Compare(operator[:2], first, last, position)
        if operator == "??" and any(operand is logic for operand in operands for logic in bare):
            raise ExpressionError(
                "syntax", "`??` cannot be mixed with && or ||", position, "Put one of them in parentheses."
            )
        logic = syntax.Logic(operator, operands, position)
        bare.append(logic)
        return logic

    def unary(self) -> Node:
        if self.kind == "symbol" and self.text in ("!", "-"):
            operator, position = self.text, self.start
            self.deeper()
            self.advance()
            operand = self.unary()
            self.nesting -= 1
            if operator == "-" and isinstance(operand, syntax.Literal) and type(operand.value) in (int, float):
                return syntax.Literal(_number_value(-float(operand.value or 0)), position)
            return syntax.Unary(operator, operand, position)
        if self.at("+"):
            raise self.error("`+` is not expected here", "To read a text as a number, write num(x).")
        if self.at("/"):
            raise self.error("`/` is not expected here", "There are no regular expressions.")
        return self.postfix()

    def postfix(self) -> Node:
        value = self.primary()
        while self.kind in ("symbol", "template"):
            if self.at(".") or self.at("?."):
                optional = self.text == "?."
                self.advance()
                if self.kind == "name":
                    value = self.member(value)
                elif optional and self.at("["):
                    value = self.index(value)
                else:
                    raise self.error("a name is expected after the dot", "Write a.name or a['any key'].")
            elif self.at("["):
                value = self.index(value)
            elif self.at("("):
                raise self.error("only functions and methods can be called", "Write name(…) or value.name(…).")
            elif self.kind == "template":
                raise self.unexpected()
            else:
                break
        return value

    def member(self, base: Node) -> Node:
        name, position = self.text, self.start
        _forbid(name, position)
        self.advance()
        if not self.at("("):
            return syntax.Member(base, name, position)
        signature = METHODS.get(name)
        if signature is None:
            raise _unknown_method(name, position)
        return syntax.Method(base, name, self.arguments(f".{name}", signature, position), position)

    def index(self, base: Node) -> Node:
        position = self.start
        self.advance()
        index = self.expression()
        self.expect("]")
        if isinstance(index, syntax.Literal) and isinstance(index.value, str):
            _forbid(index.value, index.position)
        return syntax.Index(base, index, position)

    def primary(self) -> Node:
        position = self.start
        if self.kind == "name":
            return self.name()
        if self.kind in ("number", "string"):
            value = _number_value(self.value) if isinstance(self.value, float) else self.value
            self.advance()
            return syntax.Literal(value, position)
        if self.kind == "template":
            return self.template()
        if self.at("("):
            self.advance()
            value_in = self.expression()
            self.expect(")")
            return value_in
        if self.at("["):
            return self.array()
        if self.at("{"):
            return self.object()
        raise self.unexpected()

    def name(self) -> Node:
        name, position = self.text, self.start
        if name in _CONSTANTS:
            self.advance()
            return syntax.Literal(_CONSTANTS[name], position)
        check_name(name, position)
        self.advance()
        if not self.at("("):
            return syntax.Name(name, position, self.refer(name, position))
        signature = FUNCTIONS.get(name)
        if signature is None:
            raise _unknown_function(name, position)
        return syntax.Call(name, self.arguments(name, signature, position), position)

    def refer(self, name: str, position: int, short: bool = False) -> int | None:
        slot = next((scope[name] for scope in reversed(self.parameters) if name in scope), None)
        inside = tuple(slot for scope in self.parameters for slot in scope.values())
        self.references.append(Reference(name, position, slot, short, inside))
        return slot

    def arguments(self, called: str, signature: Signature, position: int) -> tuple[Node | Arrow, ...]:
        self.advance()
        arguments: list[Node | Arrow] = []
        while not self.at(")"):
            if self.at("..."):
                raise self.error("`...` cannot be used in a call", "Pass the list itself.")
            arguments.append(self.argument(called, signature, len(arguments)))
            if not self.at(")"):
                self.expect(",")
        self.advance()
        if not signature.least <= len(arguments) <= signature.most:
            raise ExpressionError(
                "bad_argument",
                f"`{called}` does not take {len(arguments)} argument{'' if len(arguments) == 1 else 's'}",
                position,
                f"Write {signature.usage}.",
            )
        return tuple(arguments)

    def argument(self, called: str, signature: Signature, number: int) -> Node | Arrow:
        position = self.start
        if arrow := _PARAMETERS.match(self.source, position) or _ONE_PARAMETER.match(self.source, position):
            names = [(found.group(), position + found.start()) for found in _NAME.finditer(arrow.group())]
            if signature.arrow != number or len(names) > signature.parameters:
                raise ExpressionError(
                    "bad_argument", f"`{called}` does not take this function", position, f"Write {signature.usage}."
                )
            return self.arrow(names, arrow.end(), position)
        value = self.expression()
        if signature.arrow == number:
            raise ExpressionError(
                "bad_argument", f"`{called}` needs an arrow function here", position, f"Write {signature.usage}."
            )
        return value

    def arrow(self, names: list[tuple[str, int]], end: int, position: int) -> Arrow:
        scope: dict[str, int] = {}
        for name, at in names:
            check_name(name, at)
            if name in scope:
                raise ExpressionError("syntax", f"`{name}` is a parameter twice", at, "Give each its own name.")
            scope[name] = self.slots
            self.references.append(Reference(name, at, self.slots, declares=True))
            self.slots += 1
        self.end = end
        self.advance()
        if self.at("{"):
            raise self.unexpected()
        self.parameters.append(scope)
        body = self.expression()
        self.parameters.pop()
        return Arrow(tuple(scope.values()), body, position)

    def array(self) -> Node:
        position = self.start
        items: list[Node | Spread] = []
        self.advance()
        while not self.at("]"):
            items.append(self.spread() if self.at("...") else self.expression())
            if not self.at("]"):
                self.expect(",")
        self.advance()
        return syntax.ArrayLiteral(tuple(items), position)

    def spread(self) -> Spread:
        position = self.start
        self.advance()
        return Spread(self.expression(), position)

    def object(self) -> Node:
        position = self.start
        entries: list[tuple[Node, Node] | Spread] = []
        self.advance()
        while not self.at("}"):
            entries.append(self.spread() if self.at("...") else self.entry())
            if not self.at("}"):
                self.expect(",")
        self.advance()
        return syntax.ObjectLiteral(tuple(entries), position)

    def entry(self) -> tuple[Node, Node]:
        position = self.start
        if self.at("["):
            self.advance()
            key = self.expression()
            self.expect("]")
            if isinstance(key, syntax.Literal) and isinstance(key.value, str):
                _forbid(key.value, key.position)
        elif self.kind == "name":
            name = self.text
            _forbid(name, position)
            self.advance()
            if self.at(",") or self.at("}"):
                check_name(name, position)
                return syntax.Literal(name, position), syntax.Name(name, position, self.refer(name, position, True))
            key = syntax.Literal(name, position)
        elif self.kind == "string":
            _forbid(str(self.value), position)
            key = syntax.Literal(str(self.value), position)
            self.advance()
        else:
            raise self.error("a key is expected here", "Write {name: value} or {'any key': value}.")
        self.expect(":")
        return key, self.expression()

    def template(self) -> Node:
        position, at, parts, text = self.start, self.start + 1, list[Node](), list[str]()
        self.deeper()
        while True:
            character = self.source[at : at + 1]
            if character == "":
                raise self.error("this template is not closed", "Add ` at its end.")
            at += 1
            if character == "`":
                break
            if character == "\\":
                character, at = self.escape(at)
            elif character == "\r":
                character, at = "\n", at + (self.source[at : at + 1] == "\n")
            elif character == "$" and self.source[at : at + 1] == "{":
                if text:
                    parts.append(syntax.Literal(self.whole_text("".join(text)), position))
                text.clear()
                self.end = at + 1
                self.advance()
                parts.append(self.expression())
                if not self.at("}"):
                    raise self.unexpected()
                at = self.end
                continue
            text.append(character)
        if text:
            parts.append(syntax.Literal(self.whole_text("".join(text)), position))
        self.nesting -= 1
        self.end = at
        self.advance()
        return syntax.Template(tuple(parts), position)


_CONSTANTS: dict[str, bool | None] = {"null": None, "true": True, "false": False}


def _number_value(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _unknown_function(name: str, position: int) -> NoReturn:
    hint = f"`{name}` is a method: write {METHODS[name].usage}." if name in METHODS else _suggest(name, FUNCTIONS)
    raise ExpressionError("unknown_function", f"there is no function `{name}`", position, hint)


def _unknown_method(name: str, position: int) -> NoReturn:
    hint = f"`{name}` is a function: write {FUNCTIONS[name].usage}." if name in FUNCTIONS else _suggest(name, METHODS)
    raise ExpressionError("unknown_method", f"there is no method `{name}`", position, hint)


def _suggest(name: str, known: dict[str, Signature]) -> str:
    if name in INSTEAD:
        return f"{INSTEAD[name]}."
    near = closest(name, known)
    return f"Did you mean `{near}`?" if near else f"There are {', '.join(sorted(known))}."


def _shown(text: str) -> str:
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
