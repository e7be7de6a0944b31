"""Words that were applied from an answer need not be applied from their event."""

import asyncio

import pytest

from mesh.heard import WORDS_MAX, Heard


async def test_a_word_that_was_applied_is_taken_once():
    """The event of the same number and version finds it; a second one does not."""
    heard = Heard()
    with heard.applying("A1", 2):
        pass
    assert await heard.take("A1", 2) is True
    assert heard.take("A1", 2) is None


async def test_another_version_is_another_word():
    """What comes later was not heard."""
    heard = Heard()
    with heard.applying("A1", 2):
        pass
    assert heard.take("A1", 3) is None


async def test_an_event_waits_for_its_word_in_hand():
    """It comes while the answer is being applied, and learns how that ends."""
    heard, go = Heard(), asyncio.Event()

    async def apply():
        with heard.applying("A1", 2):
            await go.wait()

    applying = asyncio.create_task(apply())
    await asyncio.sleep(0)
    word = heard.take("A1", 2)
    assert word is not None
    assert not word.done()
    go.set()
    await applying
    assert await word is True


async def test_a_word_that_could_not_be_applied_does_not_count():
    """Whoever waits for it applies the event; whoever comes later has never heard of it."""
    heard = Heard()

    def apply():
        with heard.applying("A1", 2):
            words.append(heard.take("A1", 2))
            heard.begin(("A1", 2))
            raise ValueError("broken")

    words = []
    with pytest.raises(ValueError, match="broken"):
        apply()
    assert await words[0] is False
    assert heard.take("A1", 2) is None


async def test_the_oldest_words_are_forgotten():
    """An event that never comes costs no memory for ever."""
    heard = Heard()
    for version in range(WORDS_MAX + 1):
        heard.begin(("A1", version))
    assert heard.take("A1", 0) is None
    assert heard.take("A1", 1) is not None
