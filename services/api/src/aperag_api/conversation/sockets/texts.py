"""What people read of a question that could not be asked, in their language."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Problem(StrEnum):
    JSON = "invalid_json_format"
    QUERY = "query_required"
    MODEL = "invalid_model_spec"
    FLOW = "bot_flow_config_not_found"
    TOO_MANY = "too_many_questions"
    UNKNOWN = "unknown_error"


_ENGLISH: Mapping[Problem, str] = {
    Problem.JSON: "The message is not valid JSON",
    Problem.QUERY: "A question is required",
    Problem.MODEL: "The model is not specified correctly",
    Problem.FLOW: "Bot flow config not found",
    Problem.TOO_MANY: "Too many questions are waiting: ask again when one of them is answered",
    Problem.UNKNOWN: "An unforeseen failure: try again",
}
_CHINESE: Mapping[Problem, str] = {
    Problem.JSON: "消息不是有效的 JSON",
    Problem.QUERY: "请输入问题",
    Problem.MODEL: "模型配置不正确",
    Problem.FLOW: "未找到机器人的流程配置",
    Problem.TOO_MANY: "等待回答的问题太多，请稍后再问",
    Problem.UNKNOWN: "发生未知错误，请重试",
}
_KOREAN: Mapping[Problem, str] = {
    Problem.JSON: "메시지가 올바른 JSON이 아닙니다",
    Problem.QUERY: "질문을 입력해 주세요",
    Problem.MODEL: "모델 설정이 올바르지 않습니다",
    Problem.FLOW: "봇의 플로우 설정을 찾을 수 없습니다",
    Problem.TOO_MANY: "대기 중인 질문이 너무 많습니다. 답변이 끝난 뒤 다시 물어보세요",
    Problem.UNKNOWN: "알 수 없는 오류가 발생했습니다. 다시 시도해 주세요",
}
_JAPANESE: Mapping[Problem, str] = {
    Problem.JSON: "メッセージが正しい JSON ではありません",
    Problem.QUERY: "質問を入力してください",
    Problem.MODEL: "モデルの指定が正しくありません",
    Problem.FLOW: "ボットのフロー設定が見つかりません",
    Problem.TOO_MANY: "待っている質問が多すぎます。回答が終わってからもう一度お尋ねください",
    Problem.UNKNOWN: "予期しないエラーが発生しました。もう一度お試しください",
}
_BY_LANGUAGE = {"zh": _CHINESE, "ko": _KOREAN, "ja": _JAPANESE}


def text_of(problem: Problem, language: str) -> str:
    """``language`` as in ``ko-KR``; English where there is none in it."""
    return _BY_LANGUAGE.get(language.partition("-")[0].lower(), _ENGLISH)[problem]
