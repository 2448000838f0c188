"""Models in a list that people choose from: ``provider/model`` is what such a list sends back."""

from __future__ import annotations

from typing import Any


def choices(available: dict[str, Any], api: str) -> list[tuple[str, str]]:
    """(value, what people read) of all that can be called."""
    return [
        (f"{provider['name']}/{model['model']}", f"{provider['label']} · {model['model']}")
        for provider in available["items"]
        for model in provider[api]
    ]


def spec_of(choice: str) -> dict[str, str]:
    """A model may have slashes in its name, a provider has none."""
    provider, _, model = choice.partition("/")
    return {"model": model, "model_service_provider": provider, "custom_llm_provider": provider}


def choice_of(spec: dict[str, Any] | None) -> str:
    """The other way round; empty where nothing was chosen."""
    return f"{spec['model_service_provider']}/{spec['model']}" if spec and spec.get("model") else ""
