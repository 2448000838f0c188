"""What people read from the agent itself, in their language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Phrases:
    """Templates; the extractive ones are those of the ``local`` model."""

    listed_: str
    searched_: str
    searched_web_: str
    read_web_: str
    used_: str
    titles: Mapping[str, str]
    from_: str
    extractive: str
    nothing_: str
    no_collection: str
    greeting: str

    def listed(self, count: int, names: str) -> str:
        return self.listed_.format(count=count, names=names)

    def searched(self, query: str, count: int, names: str) -> str:
        shown = self.searched_.format(query=query, count=count)
        return f"{shown}: {names}" if names else shown

    def searched_web(self, query: str, count: int) -> str:
        return self.searched_web_.format(query=query, count=count)

    def read_web(self, count: int) -> str:
        return self.read_web_.format(count=count)

    def title(self, tool: str) -> str:
        """What a call is headed with; its name for a tool that has no title."""
        return self.titles.get(tool, tool)

    def used(self, tool: str) -> str:
        return self.used_.format(tool=tool)

    def nothing(self, query: str) -> str:
        return self.nothing_.format(query=query)


_ENGLISH = Phrases(
    listed_="{count} collections: {names}",
    searched_="Searched for “{query}”: {count} passages",
    searched_web_="Searched the web for “{query}”: {count} pages",
    read_web_="Read {count} web pages",
    used_="Used {tool}",
    titles={
        "list_collections": "Collections",
        "search_collection": "Search",
        "search_chat_files": "Search in files",
        "web_search": "Web search",
        "web_read": "Web pages",
        "list_documents": "Documents",
        "read_document": "Document",
    },
    from_="This is what the documents say:",
    extractive=(
        "These are sentences from the documents, chosen by the built-in model, which cannot write of its own."
        " For answers in its own words add a model: aperag models providers add."
    ),
    nothing_="The documents hold nothing on “{query}”. Try other words, or another collection.",
    no_collection="There is no collection with documents yet. Upload some, for example: aperag documents upload TITLE FILE",
    greeting=(
        "Hello. Ask me something about your documents: I search them and answer with the sentences that fit,"
        " and say where they stand."
    ),
)
_KOREAN = Phrases(
    listed_="컬렉션 {count}개: {names}",
    searched_="‘{query}’ 검색: 구절 {count}개",
    searched_web_="웹에서 ‘{query}’ 검색: {count}쪽",
    read_web_="웹 페이지 {count}개를 읽음",
    used_="{tool} 사용",
    titles={
        "list_collections": "컬렉션",
        "search_collection": "검색",
        "search_chat_files": "파일 검색",
        "web_search": "웹 검색",
        "web_read": "웹 페이지",
        "list_documents": "문서 목록",
        "read_document": "문서",
    },
    from_="문서에는 이렇게 쓰여 있습니다:",
    extractive=(
        "위 내용은 내장 모델이 문서에서 고른 문장이며, 내장 모델은 스스로 글을 쓰지 못합니다."
        " 직접 작성한 답을 원하면 모델을 추가하세요: aperag models providers add."
    ),
    nothing_="문서에서 ‘{query}’에 관한 내용을 찾지 못했습니다. 다른 말이나 다른 컬렉션으로 다시 물어보세요.",
    no_collection="아직 문서가 있는 컬렉션이 없습니다. 먼저 올려 주세요. 예: aperag documents upload TITLE FILE",
    greeting="안녕하세요. 문서에 대해 물어보세요. 문서를 검색해 알맞은 문장으로 답하고 출처를 알려 드립니다.",
)
_CHINESE = Phrases(
    listed_="{count} 个知识库：{names}",
    searched_="搜索“{query}”：{count} 个段落",
    searched_web_="在网上搜索“{query}”：{count} 个网页",
    read_web_="阅读了 {count} 个网页",
    used_="使用了 {tool}",
    titles={
        "list_collections": "知识库",
        "search_collection": "搜索",
        "search_chat_files": "文件搜索",
        "web_search": "网络搜索",
        "web_read": "网页",
        "list_documents": "文档列表",
        "read_document": "文档",
    },
    from_="文档中是这样写的：",
    extractive="以上是内置模型从文档中摘出的原句，内置模型不会自己写作。想要它自己组织的回答，请添加模型：aperag models providers add。",
    nothing_="文档中没有找到关于“{query}”的内容。请换一种说法，或换一个知识库。",
    no_collection="还没有包含文档的知识库。请先上传，例如：aperag documents upload TITLE FILE",
    greeting="你好。请就你的文档提问：我会搜索文档，用合适的原句回答，并说明出处。",
)
_JAPANESE = Phrases(
    listed_="コレクション {count} 件：{names}",
    searched_="「{query}」を検索：{count} 件の文章",
    searched_web_="ウェブで「{query}」を検索：{count} ページ",
    read_web_="ウェブページ {count} 件を読みました",
    used_="{tool} を使いました",
    titles={
        "list_collections": "コレクション",
        "search_collection": "検索",
        "search_chat_files": "ファイル検索",
        "web_search": "ウェブ検索",
        "web_read": "ウェブページ",
        "list_documents": "文書一覧",
        "read_document": "文書",
    },
    from_="文書にはこう書かれています：",
    extractive=(
        "これは内蔵モデルが文書から選んだ文で、内蔵モデルは自分で文章を書けません。"
        "自分の言葉による回答にはモデルを追加してください：aperag models providers add。"
    ),
    nothing_="「{query}」についての記述は文書に見つかりません。別の言葉や別のコレクションでお試しください。",
    no_collection="文書のあるコレクションがまだありません。まずアップロードしてください。例：aperag documents upload TITLE FILE",
    greeting="こんにちは。文書について質問してください。文書を検索し、ふさわしい文と出典をお答えします。",
)
_BY_LANGUAGE = {"ko": _KOREAN, "zh": _CHINESE, "ja": _JAPANESE}


def phrases(language: str) -> Phrases:
    """``language`` as in ``ko-KR``; English where there are none in it."""
    return _BY_LANGUAGE.get(language.partition("-")[0].lower(), _ENGLISH)
