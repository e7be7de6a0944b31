"""The channels we can speak to, by the name that a channel account gives as its adapter."""

from __future__ import annotations

from collections.abc import Mapping

from channel.adapters.balance import BalanceAdapter
from channel.adapters.sim import SimAdapter
from channel.adapters.spi import ChannelAdapter

_ALL: tuple[ChannelAdapter, ...] = (BalanceAdapter(), SimAdapter())

ADAPTERS: Mapping[str, ChannelAdapter] = {adapter.spec.code: adapter for adapter in _ALL}
