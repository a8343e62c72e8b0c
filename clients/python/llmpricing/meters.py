"""What a rate counts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Meter(StrEnum):
    """Named after the unit registry of genai-prices, plus what other sources price.

    One of "tokens", "characters", "searches", "seconds" or "images" is one unit.
    Meters overlap as their names say: cache_read_tokens are part of input_tokens.
    The order is the order of rates on a card.
    """

    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    CACHE_READ_TOKENS = "cache_read_tokens"
    CACHE_WRITE_TOKENS = "cache_write_tokens"
    CACHE_WRITE_5M_TOKENS = "cache_write_5m_tokens"
    CACHE_WRITE_1H_TOKENS = "cache_write_1h_tokens"
    INPUT_TEXT_TOKENS = "input_text_tokens"
    OUTPUT_TEXT_TOKENS = "output_text_tokens"
    CACHE_TEXT_READ_TOKENS = "cache_text_read_tokens"
    CACHE_TEXT_WRITE_TOKENS = "cache_text_write_tokens"
    CACHE_TEXT_WRITE_5M_TOKENS = "cache_text_write_5m_tokens"
    CACHE_TEXT_WRITE_1H_TOKENS = "cache_text_write_1h_tokens"
    INPUT_AUDIO_TOKENS = "input_audio_tokens"
    OUTPUT_AUDIO_TOKENS = "output_audio_tokens"
    CACHE_AUDIO_READ_TOKENS = "cache_audio_read_tokens"
    CACHE_AUDIO_WRITE_TOKENS = "cache_audio_write_tokens"
    CACHE_AUDIO_WRITE_5M_TOKENS = "cache_audio_write_5m_tokens"
    CACHE_AUDIO_WRITE_1H_TOKENS = "cache_audio_write_1h_tokens"
    INPUT_IMAGE_TOKENS = "input_image_tokens"
    OUTPUT_IMAGE_TOKENS = "output_image_tokens"
    CACHE_IMAGE_READ_TOKENS = "cache_image_read_tokens"
    CACHE_IMAGE_WRITE_TOKENS = "cache_image_write_tokens"
    CACHE_IMAGE_WRITE_5M_TOKENS = "cache_image_write_5m_tokens"
    CACHE_IMAGE_WRITE_1H_TOKENS = "cache_image_write_1h_tokens"
    INPUT_VIDEO_TOKENS = "input_video_tokens"
    OUTPUT_VIDEO_TOKENS = "output_video_tokens"
    CACHE_VIDEO_READ_TOKENS = "cache_video_read_tokens"
    CACHE_VIDEO_WRITE_TOKENS = "cache_video_write_tokens"
    CACHE_VIDEO_WRITE_5M_TOKENS = "cache_video_write_5m_tokens"
    CACHE_VIDEO_WRITE_1H_TOKENS = "cache_video_write_1h_tokens"
    INPUT_TOOL_TOKENS = "input_tool_tokens"
    INPUT_TEXT_TOOL_TOKENS = "input_text_tool_tokens"
    INPUT_AUDIO_TOOL_TOKENS = "input_audio_tool_tokens"
    INPUT_IMAGE_TOOL_TOKENS = "input_image_tool_tokens"
    INPUT_VIDEO_TOOL_TOKENS = "input_video_tool_tokens"
    OUTPUT_REASONING_TOKENS = "output_reasoning_tokens"
    OUTPUT_TEXT_REASONING_TOKENS = "output_text_reasoning_tokens"
    OUTPUT_AUDIO_REASONING_TOKENS = "output_audio_reasoning_tokens"
    OUTPUT_IMAGE_REASONING_TOKENS = "output_image_reasoning_tokens"
    OUTPUT_VIDEO_REASONING_TOKENS = "output_video_reasoning_tokens"
    OUTPUT_CITATION_TOKENS = "output_citation_tokens"
    OUTPUT_TEXT_CITATION_TOKENS = "output_text_citation_tokens"
    OUTPUT_AUDIO_CITATION_TOKENS = "output_audio_citation_tokens"
    OUTPUT_IMAGE_CITATION_TOKENS = "output_image_citation_tokens"
    OUTPUT_VIDEO_CITATION_TOKENS = "output_video_citation_tokens"
    INPUT_CHARACTERS = "input_characters"
    INPUT_TEXT_MESSAGES = "input_text_messages"
    AUDIO_SECONDS = "audio_seconds"
    INPUT_AUDIO_SECONDS = "input_audio_seconds"
    OUTPUT_AUDIO_SECONDS = "output_audio_seconds"
    INPUT_PIXELS = "input_pixels"
    INPUT_DOCUMENT_PAGES = "input_document_pages"
    INPUT_ANNOTATED_DOCUMENT_PAGES = "input_annotated_document_pages"
    RERANK_SEARCHES = "rerank_searches"
    WEB_SEARCHES = "web_searches"
    SOCIAL_SEARCHES = "social_searches"
    STORAGE_SEARCHES = "storage_searches"
    CODE_EXECUTIONS = "code_executions"
    REQUESTS = "requests"
    INPUT_IMAGES = "input_images"
    OUTPUT_IMAGES = "output_images"


METER_ORDER: Final[Mapping[Meter, int]] = {meter: place for place, meter in enumerate(Meter)}
"""A key to sort by: the order of rates on a card, and of the lines of a cost."""
