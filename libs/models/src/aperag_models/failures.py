"""What went wrong at a provider, in words for people: which provider, which model, what to do; never the key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aperag_common import errors
from aperag_models.transport import retry_after

if TYPE_CHECKING:
    import httpx

    from aperag_models.refs import ModelRef

SAID_CHARACTERS = 300


class ProviderRefused(errors.Terminal):
    """The provider does not take the key, or the account has nothing left."""

    code = "MODEL_REFUSED"


class ModelNotThere(errors.Terminal):
    """The provider has no such model."""

    code = "MODEL_NOT_FOUND"


class RequestRefused(errors.Terminal):
    """The provider does not take what it was asked, or its answer is not what was asked for."""

    code = "MODEL_FAILED"


def of_answer(response: httpx.Response, model: ModelRef, api_key: str) -> errors.ApeRAGError:
    """For a status that is not a success; the answer has been read."""
    said = _said(response, api_key)
    match response.status_code:
        case 401 | 403:
            return ProviderRefused(f"The provider {model.provider} refuses the API key. Check the key.{said}")
        case 402:
            return ProviderRefused(f"The account at the provider {model.provider} has nothing left.{said}")
        case 404:
            return ModelNotThere(
                f"The provider {model.provider} knows no model {model.model} at its address."
                f" Check the model's name and the provider's base_url.{said}"
            )
        case 429:
            seconds = retry_after(response.headers, datetime.now(UTC))
            message = f"The provider {model.provider} takes no more requests now. Try again later.{said}"
            return errors.RateLimited(message, retry_after=None if seconds is None else timedelta(seconds=seconds))
        case status if status >= 500 or status == 408:
            message = f"The provider {model.provider} answered with the status {status}. Try again later.{said}"
            return errors.UpstreamUnavailable(message)
        case status:
            message = (
                f"The provider {model.provider} did not take the request for {model.model} (status {status}).{said}"
            )
            return RequestRefused(message)


def unreachable(model: ModelRef, err: Exception) -> errors.UpstreamUnavailable:
    return errors.UpstreamUnavailable(
        f"The provider {model.provider} cannot be reached, or broke off ({type(err).__name__})."
        " Check its base_url, or try again later."
    )


def not_understood(model: ModelRef, what: str) -> RequestRefused:
    return RequestRefused(f"The answer of the provider {model.provider} for {model.model} {what}.")


def _said(response: httpx.Response, api_key: str) -> str:
    """The provider's own words, where it used any. Some quote the key that they refuse."""
    try:
        body: Any = response.json()
    except ValueError:
        return ""
    error = body.get("error", body) if isinstance(body, dict) else None
    message = (error.get("message") or error.get("detail")) if isinstance(error, dict) else error
    if not isinstance(message, str) or not message.strip():
        return ""
    words = " ".join(message.replace(api_key, "***").split() if api_key else message.split())
    return f' It says: "{words[:SAID_CHARACTERS]}"'
