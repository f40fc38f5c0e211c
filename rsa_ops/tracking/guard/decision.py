"""May this request go through? Pure: what is asked and what is known in, a reason to refuse or None out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from rsa_ops.tracking.registry import CHAMPION

TAG_PREFIX = "rsa."


class Act(StrEnum):
    """What a request would do, in words that follow `may not`."""

    SET_ALIAS = "set an alias"
    DELETE_ALIAS = "delete an alias"
    CHANGE_VERSION = "change or delete a version"
    MOVE_STAGE = "move a version to a stage"
    CHANGE_MODEL = "rename, change or delete a registered model"
    TAG_VERSION = "change a tag of a version"
    TAG_MODEL = "change a tag of a registered model"
    CHANGE_LOGGED_MODEL = "change or delete a logged model"
    TAG_LOGGED_MODEL = "change a tag of a logged model"
    DELETE_RUN = "delete a run"
    DELETE_EXPERIMENT = "delete an experiment"
    DELETE_WORKSPACE = "delete a workspace"
    WRITE_FILES = "write a file"
    DELETE_FILES = "delete files"
    UNKNOWN = "take a route that the guard does not know"
    UNREADABLE = "send a request that the guard cannot read"


@dataclass(frozen=True)
class Asked:
    """A request. Fields that an act does not have are empty.

    `models`: the registered models it is about (a rename has two). `names`: ids of runs, logged models or
    experiments. `places`: where it writes or deletes, as `holdings.place_of` spells it.
    """

    act: Act
    models: tuple[str, ...] = ()
    version: str = ""
    alias: str = ""
    tags: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Holdings:
    """What protected versions stand on: runs, logged models, experiments by id, and the places of their files."""

    runs: frozenset[str] = frozenset()
    logged_models: frozenset[str] = frozenset()
    experiments: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()

    def __or__(self, other: Holdings) -> Holdings:
        return Holdings(
            self.runs | other.runs,
            self.logged_models | other.logged_models,
            self.experiments | other.experiments,
            self.places | other.places,
        )


@dataclass(frozen=True)
class Scope:
    """What is protected before the ledger names it: these aliases on every model that matches a pattern."""

    aliases: tuple[str, ...] = (CHAMPION,)
    models: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Known:
    """What the ledger says: (model, version) and (model, alias) that it names, and what the versions stand on.

    `intended` is the version that an open intent moves the alias of this request to, None without one.
    """

    versions: frozenset[tuple[str, str]] = frozenset()
    aliases: frozenset[tuple[str, str]] = frozenset()
    holdings: Holdings = field(default_factory=Holdings)
    intended: str | None = None

    @property
    def models(self) -> frozenset[str]:
        """The registered models that hold a protected version or alias."""
        return frozenset(model for model, _ in self.versions | self.aliases)


def refusal(asked: Asked, known: Known, scope: Scope) -> str | None:
    """Why a request is refused, or None when it may go through.

    Names are compared without case, as some databases do; that can only refuse more.
    """
    match asked.act:
        case Act.UNKNOWN | Act.UNREADABLE:
            return f"a client may not {asked.act}"
        case Act.SET_ALIAS | Act.DELETE_ALIAS:
            return _alias(asked, known, scope)
        case Act.TAG_VERSION | Act.TAG_MODEL | Act.TAG_LOGGED_MODEL:
            return _tag(asked, known)
        case Act.WRITE_FILES | Act.DELETE_FILES:
            return _files(asked, known.holdings)
        case _:
            found = _held(asked, known)
            return None if found is None else f"{found} is named by the ledger: a client may not {asked.act}"


def _alias(asked: Asked, known: Known, scope: Scope) -> str | None:
    model, alias = asked.models[0], asked.alias
    named = _folded((model, alias)) in {_folded(pair) for pair in known.aliases}
    by_scope = alias.casefold() in {each.casefold() for each in scope.aliases}
    in_scope = any(fnmatchcase(model.casefold(), pattern.casefold()) for pattern in scope.models)
    if not named and not (by_scope and in_scope):
        return None
    if asked.act is Act.DELETE_ALIAS:
        return f"{alias} of {model} is a protected alias: it moves by a plan, and no plan deletes it"
    if known.intended is None:
        return f"{alias} of {model} is a protected alias, and the ledger holds no open intent to move it"
    if known.intended != asked.version:
        return f"{alias} of {model} is to move to version {known.intended} by the ledger, not to {asked.version}"
    return None


def _tag(asked: Asked, known: Known) -> str | None:
    tags = [tag for tag in asked.tags if tag.casefold().startswith(TAG_PREFIX)]
    found = _held(asked, known) if tags else None
    return None if found is None else f"{found} is named by the ledger: its tag {tags[0]} stays as it is"


def _held(asked: Asked, known: Known) -> str | None:
    """The first thing of a request that the ledger protects, in words."""
    holdings = known.holdings
    found: str | None = None
    match asked.act:
        case Act.CHANGE_VERSION | Act.TAG_VERSION:
            pair = (asked.models[0], asked.version)
            versions = {_folded(each) for each in known.versions}
            found = f"version {pair[1]} of {pair[0]}" if _folded(pair) in versions else None
        case Act.CHANGE_MODEL | Act.TAG_MODEL | Act.MOVE_STAGE:
            # To move one version to a stage can archive the others.
            models = {model.casefold() for model in known.models}
            found = next((model for model in asked.models if model.casefold() in models), None)
        case Act.CHANGE_LOGGED_MODEL | Act.TAG_LOGGED_MODEL:
            found = _first("logged model", asked.names, holdings.logged_models)
        case Act.DELETE_RUN:
            found = _first("run", asked.names, holdings.runs)
        case Act.DELETE_EXPERIMENT:
            found = _first("what the experiment holds,", asked.names, holdings.experiments)
        case Act.DELETE_WORKSPACE:
            found = "a version in this store" if known.versions else None
    return found


def _files(asked: Asked, holdings: Holdings) -> str | None:
    for place in asked.places:
        for held in holdings.places:
            inside = place == held or place.startswith(f"{held}/")
            around = asked.act is Act.DELETE_FILES and (place == "" or held.startswith(f"{place}/"))
            if inside or around:
                return f"{held} holds files of a version that the ledger names: a client may not {asked.act} there"
    return None


def _first(what: str, names: tuple[str, ...], held: frozenset[str]) -> str | None:
    return next((f"{what} {name}" for name in names if name in held), None)


def _folded(pair: tuple[str, str]) -> tuple[str, str]:
    return pair[0].casefold(), pair[1].casefold()
