"""What the routes of providers, models and prompts are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends

from aperag_api.kernel.services import provided

if TYPE_CHECKING:
    from aperag_api.models.catalog.service import ModelService
    from aperag_api.models.inference.service import InferenceService
    from aperag_api.models.prompts.service import PromptService
    from aperag_api.models.providers.service import ProviderService


@dataclass(frozen=True, slots=True)
class Models:
    catalog: ModelService
    inference: InferenceService
    prompts: PromptService
    providers: ProviderService


Services = Annotated[Models, Depends(provided(Models))]
