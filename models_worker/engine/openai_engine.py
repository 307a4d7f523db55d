import asyncio
import json
from collections.abc import Callable, Sequence
from hashlib import sha256

import httpx2

from models_worker.engine import templates
from models_worker.engine.chat import ROLES, ChatError, Message, RenderedPrompt, after_examples, from_template
from models_worker.engine.patience import GivenUp, Line, Patience, line_to
from models_worker.engine.server import Refused, Reply, Server, ended
from models_worker.engine.types import OnResult, SampleRequest, SampleResult, SamplerUnusable, failed, never

# Seconds between calls of `cancelled`.
LOOK = 0.2
# The limit of OpenAI. Further stop strings are applied here, to the returned text.
MOST_STOPS = 4

Answers = asyncio.Queue[SampleResult | Exception]
Waiting = asyncio.Queue[SampleRequest]


class OpenAISampler:
    """Samples a policy behind a server; see types.Sampler.

    One request is one completion, with its own seed and retries: every server supports that. Raises SamplerUnusable
    after many consecutive requests without an answer.
    """

    checkpoint_sha256 = ""

    def __init__(self, server: Server, *, concurrency: int = 32, patience: Patience | None = None) -> None:
        self.server, self.concurrency, self.patience = server, concurrency, patience or Patience()
        self.most_in_vain = max(32, 6 * concurrency)
        self.in_vain = 0

    @property
    def provenance(self) -> dict[str, object]:
        server, template = self.server, self.server.template
        chat = server.endpoint == "chat"
        return {
            "engine": "openai",
            "url": server.url,
            "endpoint": server.endpoint,
            "model": server.model,
            "template": "server" if chat else template.name,
            "template_sha256": "" if chat else template.sha256,
            "reproducible": server.reproducible,
            "client": f"httpx2 {httpx2.__version__}",
        }

    def render(self, messages: Sequence[Message], *, max_new_tokens: int) -> RenderedPrompt:
        """Never truncated, because only the server counts tokens."""
        text = prompt_text(self.server, messages)
        return RenderedPrompt(text=text, ids=(), truncated=0, sha256=sha256(text.encode()).hexdigest())

    def sample(
        self,
        requests: Sequence[SampleRequest],
        *,
        on_result: OnResult,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        # The loop runs only while this function waits, so on_result may use the database. Leaving the `with` cancels
        # open requests and closes their connections, so that servers stop working on them.
        with asyncio.Runner() as loop:
            waiting, answers = Waiting(), Answers()
            for request in requests:
                waiting.put_nowait(request)
            # A variable, because the loop references its tasks only weakly.
            asking = loop.get_loop().create_task(self._ask_all(waiting, answers))
            left = len(requests)
            while left and not cancelled():
                for answer in loop.run(_come(answers)):
                    if isinstance(answer, Exception):
                        raise answer
                    left -= 1
                    for request in on_result(answer) or ():
                        waiting.put_nowait(request)
                        left += 1
            asking.cancel()

    async def _ask_all(self, waiting: Waiting, answers: Answers) -> None:
        """Each lane sends one request after another."""
        lanes = min(self.concurrency, waiting.qsize())
        try:
            async with line_to(self.server, self.patience, connections=lanes) as line:
                await asyncio.gather(*(self._lane(line, waiting, answers) for _number in range(lanes)))
        except Exception as error:
            # `sample` raises it.
            answers.put_nowait(error)

    async def _lane(self, line: Line, waiting: Waiting, answers: Answers) -> None:
        while True:
            answers.put_nowait(await self._answer(line, await waiting.get()))

    async def _answer(self, line: Line, request: SampleRequest) -> SampleResult:
        """Raises SamplerUnusable."""
        try:
            reply, sent = await line.ask(fields_of(self.server, request))
        except Refused as refusal:
            self.in_vain = 0
            return failed(request, str(refusal), final=True)
        except GivenUp as reason:
            self.in_vain += 1
            if self.in_vain >= self.most_in_vain:
                raise SamplerUnusable(f"{self.in_vain} requests in a row got no answer. {reason}") from None
            return failed(request, str(reason))
        self.in_vain = 0
        return self._result(request, reply, sent)

    def _result(self, request: SampleRequest, reply: Reply, sent: int) -> SampleResult:
        finish = ended(reply, request.params.max_new_tokens)
        if finish == "filter":
            return failed(request, f"{self.server.name} withheld the text: its content filter.", final=True)
        if finish == "unknown":
            return failed(request, f"{self.server.name} ended for a reason of its own: {reply.finish_reason}.")
        # Some servers leave the stop string in the text, and some ignore it.
        found = [at for at in map(reply.text.find, stops_of(self.server, request)) if at >= 0]
        text = reply.text[: min(found, default=None)]
        if self.server.endpoint == "completions":
            text = text.removeprefix(self.server.template.lead)
        return SampleResult(
            prompt_id=request.prompt_id,
            k=request.k,
            text=text,
            token_ids=(),
            finish_reason="stop" if found else finish,
            seed=request.seed,
            params=request.params,
            prompt_tokens=reply.prompt_tokens,
            sum_logprob=None,
            attempt=request.attempt,
            error="",
            truncated_prompt=request.truncated_prompt,
            counted=reply.tokens,
            provenance={
                "served_model": reply.model,
                "system_fingerprint": reply.fingerprint,
                "server_finish_reason": reply.finish_reason,
                "seed_sent": self.server.takes_seed,
                "requests_sent": sent,
            },
        )


async def _come(answers: Answers) -> list[SampleResult | Exception]:
    try:
        async with asyncio.timeout(LOOK):
            come = [await answers.get()]
    except TimeoutError:
        return []
    while not answers.empty():
        come.append(answers.get_nowait())
    return come


def prompt_text(server: Server, messages: Sequence[Message]) -> str:
    """A text, or the messages of a chat as JSON. Raises ChatError or templates.Interrupted."""
    head, turns = after_examples(server.examples, messages)
    whole = [dict(each) for each in (*head, *turns)]
    if not whole or whole[-1]["role"] != "user":
        raise ChatError("The last message of a prompt must be the user's: it is what the policy answers.")
    if unknown := {message["role"] for message in whole} - set(ROLES):
        raise ChatError(f"A message has the role {min(unknown)!r}; it can be {', '.join(ROLES)}.")
    if server.endpoint == "chat":
        return json.dumps(whole, ensure_ascii=False)
    allowance = templates.Allowance.of_a_prompt()
    return from_template(
        server.template,
        lambda: templates.render(server.template.source, whole, style="server", allowance=allowance),
    )


def fields_of(server: Server, request: SampleRequest) -> dict[str, object]:
    """Without the model's name."""
    chat, params = server.endpoint == "chat", request.params
    fields: dict[str, object] = {
        "messages" if chat else "prompt": json.loads(request.prompt_text) if chat else request.prompt_text,
        "temperature": params.temperature,
        server.limit: params.max_new_tokens,
    }
    if params.top_p < 1 or server.takes_whole_top_p:
        # Send 1 too: some servers use the checkpoint's default instead of the documented 1.
        fields["top_p"] = params.top_p
    if stops := stops_of(server, request):
        fields["stop"] = stops[:MOST_STOPS]
    if server.takes_seed:
        fields["seed"] = request.seed
    return fields


def stops_of(server: Server, request: SampleRequest) -> list[str]:
    own = () if server.endpoint == "chat" else server.template.stop
    return list(dict.fromkeys((*request.params.stop, *own)))
