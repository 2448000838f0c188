"""In a collection of several languages a question finds what answers it, whatever language that is written in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.retrieval.library import COLLECTION, Library

from aperag_common.db.models import User
from aperag_retrieval.embedding import EmbeddersBesideLocal, InProcessEmbedder
from aperag_retrieval.local import MODELS
from aperag_retrieval.search import Searcher
from aperag_retrieval.testing import WordEmbedders

PASSAGES = {
    "tides": "Tides are caused by the gravity of the moon, which pulls the water of the oceans.",
    "bread": "Bread dough rises because yeast produces carbon dioxide while it ferments.",
    "vaccine": "The influenza vaccine should be given every year in autumn before the flu season begins.",
    "battery": "A lithium battery loses capacity faster when it is stored fully charged at a high temperature.",
    "refund": "Customers can return the product within fourteen days and receive a full refund of the price.",
    "earthquake": "During an earthquake stay under a strong table and keep away from windows.",
    "password": "If you forget your password, click the reset link and follow the instructions in the e-mail.",
    "coffee": "Coffee tastes bitter when the water is too hot or the beans are ground too fine.",
    "visa": "Foreign students need a visa before they enter the country to study at a university.",
    "bicycle": "Check the air pressure of the bicycle tyres once a week and oil the chain every month.",
}
KOREAN = [
    "회사의 연차 휴가는 매년 1월에 새로 부여되며 사용하지 않은 휴가는 소멸된다.",
    "주차장은 지하 2층과 3층에 있으며 방문객은 안내 데스크에서 주차권을 받는다.",
    "구내 식당은 오전 11시 30분부터 오후 1시 30분까지 운영된다.",
    "프린터의 토너가 떨어지면 총무팀에 교체를 신청한다.",
    "서울은 대한민국의 수도이며 한강이 도시를 가로질러 흐른다.",
    "회의실은 사내 포털에서 예약하고 사용 후에는 정리한다.",
    "출장비는 영수증과 함께 일주일 이내에 청구한다.",
    "신입 사원은 입사 첫 주에 보안 교육을 이수해야 한다.",
    "도서관은 월요일에 휴관하며 책은 2주 동안 빌릴 수 있다.",
    "김치는 배추와 고춧가루, 마늘, 젓갈로 만든 발효 음식이다.",
    "지하철 2호선은 서울 시내를 순환한다.",
    "건물의 냉방은 실내 온도가 26도를 넘으면 가동된다.",
]
QUESTIONS = {
    "tides": "조수는 왜 생기나요? 달과 바다의 관계",
    "bread": "빵 반죽이 부풀어 오르는 이유는 무엇인가요",
    "vaccine": "독감 예방 접종은 언제 맞아야 하나요",
    "battery": "배터리 수명이 빨리 줄어드는 이유",
    "refund": "제품을 반품하고 환불받을 수 있는 기간은",
    "earthquake": "지진이 났을 때 어떻게 해야 하나요",
    "password": "비밀번호를 잊어버렸을 때 재설정하는 방법",
    "coffee": "커피가 쓴맛이 나는 이유는",
    "visa": "유학생이 입국하려면 비자가 필요한가요",
    "bicycle": "자전거 타이어 공기압은 얼마나 자주 점검해야 하나요",
}


@pytest_asyncio.fixture(params=MODELS)
async def mixed(engine: AsyncEngine, request: pytest.FixtureRequest) -> AsyncIterator[Library]:
    embedder = InProcessEmbedder(MODELS[request.param])
    library = Library(engine, embedder, Searcher(engine, EmbeddersBesideLocal([embedder], WordEmbedders({}))))
    async with engine.begin() as conn:
        await conn.execute(insert(User).values(id="user1", username="user1", role="admin"))
    await library.collection(COLLECTION)
    for name, text in PASSAGES.items():
        await library.document(name, text)
    for number, text in enumerate(KOREAN):
        await library.document(f"ko{number}", text)
    yield library
    await embedder.close()


async def test_a_question_finds_the_passage_that_answers_it_in_another_script(mixed: Library) -> None:
    found = {name: (await mixed.names(asked, vector=10, fulltext=10))[:3] for name, asked in QUESTIONS.items()}
    assert {name: top for name, top in found.items() if f"{name}.md" not in top} == {}


@pytest.mark.parametrize(
    ("asked", "number"), [("회의실 예약", 5), ("김치는 무엇으로 만드나요", 9), ("지하철 2호선", 10)]
)
async def test_a_question_in_its_own_script_finds_its_words_first(mixed: Library, asked: str, number: int) -> None:
    assert (await mixed.names(asked, vector=10, fulltext=10))[0] == f"ko{number}.md"


async def test_a_number_is_found_by_a_question_in_another_script(mixed: Library) -> None:
    await mixed.document("order", "Order 20250017 was shipped by train on Monday.")
    await mixed.document("orders", "Orders are shipped by train every Monday; order 20250018 follows.")
    assert (await mixed.names("20250017 주문", vector=5, fulltext=5))[0] == "order.md"
