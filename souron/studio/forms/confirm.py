"""Button that asks for confirmation."""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from souron.studio.shared import QUIET
from souron.utils.messages import _

NARROW: dict[str, Any] = {"scale": 0, "min_width": 180}  # a button as wide as its words


class Confirm:
    """A button that, once pressed, shows a question with two buttons: confirm or cancel."""

    def __init__(self, ask: str, do: str) -> None:
        import gradio as gr

        self.button = gr.Button(ask, variant="stop", **NARROW)
        with gr.Column(visible=False) as self.column:
            self.question = gr.HTML()
            with gr.Row():
                self.yes = gr.Button(do, variant="stop", **NARROW)
                self.no = gr.Button(_("Leave it as it is"), **NARROW)

    def connect(
        self,
        says: Callable,
        question: Callable[..., str],
        do: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
    ) -> Any:
        """Connect the handlers, and return the event that follows the action.

        ``question`` and ``do`` take ``inputs``.
        """
        import gradio as gr

        def ask(*values: Any) -> list[Any]:
            text = Markup('<p role="alert">{}</p>').format(question(*values))
            return [gr.update(visible=True), text]

        def hide() -> Any:
            return gr.update(visible=False)

        self.button.click(says(ask), list(inputs), [self.column, self.question], **QUIET)
        self.no.click(hide, None, self.column, **QUIET)
        self.yes.click(hide, None, self.column, **QUIET)
        return self.yes.click(says(do), list(inputs), list(outputs), **QUIET)
