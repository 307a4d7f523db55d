"""Render constant `{% translate %}` and `{% static %}` tags once, when a template is loaded.

A task page takes 12.5 ms of CPU time, with Django's cached loader 15.4 ms (bench/pages.py, two shared cores). Remove
this module if the gain falls below 10 %.
"""

import threading

from django.conf import settings
from django.template import Context, Node, NodeList, Template
from django.template.base import FilterExpression, Origin, TextNode, TokenType, Variable
from django.template.defaulttags import IfNode
from django.template.loaders import cached
from django.templatetags.i18n import BlockTranslateNode, TranslateNode
from django.templatetags.static import StaticNode

_folding = threading.Lock()


class Loader(cached.Loader):
    def get_template(self, template_name: str, skip: list[Origin] | None = None) -> Template:
        template = super().get_template(template_name, skip)
        # Error pages of DEBUG show the line of the template.
        if not self.engine.debug:
            with _folding:
                if not hasattr(template, "folded"):
                    context = Context()
                    context.template = template
                    fold(template.nodelist, context)
                    template.folded = True  # type: ignore[attr-defined]
        return template


def fold(nodes: NodeList, context: Context) -> None:
    folded: list[Node] = []
    for node in nodes:
        if _is_constant(node):
            node = TextNode(str(node.render(context)))
        if isinstance(node, TextNode) and folded and isinstance(folded[-1], TextNode):
            folded[-1] = TextNode(folded[-1].s + node.s)
        else:
            folded.append(node)
    nodes[:] = folded
    for node in nodes:
        for inner in _inside(node):
            fold(inner, context)


def _inside(node: Node) -> list[NodeList]:
    if isinstance(node, IfNode):
        return [inner for _condition, inner in node.conditions_nodelists]
    named = [getattr(node, name, None) for name in node.child_nodelists]
    return [inner for inner in named if isinstance(inner, NodeList)]


def _is_constant(node: Node) -> bool:
    match node:
        case TranslateNode():
            return not settings.USE_I18N and not node.asvar and not node.message_context and _is_text(node)
        case BlockTranslateNode():
            named = node.extra_context or node.countervar or node.asvar or node.message_context
            plain = all(token.token_type == TokenType.TEXT for token in node.singular)
            return not settings.USE_I18N and not named and plain
        case StaticNode():
            path = node.path
            return not node.varname and isinstance(path, FilterExpression) and not path.is_var and not path.filters
    return False


def _is_text(node: TranslateNode) -> bool:
    said = node.filter_expression
    return isinstance(said.var, Variable) and said.var.literal is not None and not said.filters
