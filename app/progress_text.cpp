#include "app/progress_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/printable.h"
#include "base/text.h"

namespace macadam {

namespace {

constexpr size_t kLongBar = 24, kShortBar = 8;
constexpr size_t kBarFrame = 3;  // "[", "]" and a space

/// Characters of two columns, roughly: East Asian ones, and signs that may be drawn as emoji.
constexpr std::array<std::pair<uint32_t, uint32_t>, 12> kWide{{{0x1100, 0x115F},
                                                               {0x231A, 0x23FF},
                                                               {0x25FD, 0x27BF},
                                                               {0x2B1B, 0x2B55},
                                                               {0x2E80, 0xA4CF},
                                                               {0xA960, 0xA97C},
                                                               {0xAC00, 0xD7A3},
                                                               {0xF900, 0xFAFF},
                                                               {0xFE10, 0xFE6F},
                                                               {0xFF01, 0xFFE6},
                                                               {0x16FE0, 0x1FAFF},
                                                               {0x20000, 0x3FFFD}}};

size_t columns_of(uint32_t code) {
  const auto holds = [&](const auto& range) { return range.first <= code && code <= range.second; };
  return std::ranges::any_of(kWide, holds) ? 2 : 1;
}

/// As much of the beginning as `columns` columns hold.
std::string_view beginning(std::string_view text, size_t columns) {
  size_t bytes = 0;
  while (bytes < text.size()) {
    const Character c = first_character(text.substr(bytes));
    if (columns_of(c.code) > columns) break;
    columns -= columns_of(c.code);
    bytes += std::max<size_t>(c.bytes, 1);
  }
  return text.substr(0, bytes);
}

std::string bar_text(int64_t done, int64_t total, size_t width) {
  const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1;
  const auto filled = static_cast<size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(width));
  return std::string(filled, '#') + std::string(width - filled, '.');
}

}  // namespace

size_t text_columns(std::string_view text) {
  size_t columns = 0;
  while (!text.empty()) {
    const Character c = first_character(text);
    columns += columns_of(c.code);
    text.remove_prefix(std::max<size_t>(c.bytes, 1));
  }
  return columns;
}

std::string progress_text(std::string_view label, int64_t done, int64_t total,
                          std::span<const std::string> details, size_t columns) {
  const std::string count = fmt::format("{}/{}", done, total);
  const size_t least = text_columns(label) + 1 + count.size();
  for (size_t shown = details.size() + 1; shown-- > 0;) {
    std::string text = joined(details.first(shown));
    if (!text.empty()) text.insert(0, " ");
    const size_t taken = least + text_columns(text) + kBarFrame;
    if (taken + kShortBar > columns) continue;
    const size_t width = std::min(kLongBar, columns - taken);
    return fmt::format("{} [{}] {}{}", label, bar_text(done, total, width), count, text);
  }
  if (least <= columns) return fmt::format("{} {}", label, count);
  if (count.size() + 2 <= columns) {
    return fmt::format("{} {}", beginning(label, columns - count.size() - 1), count);
  }
  return std::string(beginning(count, columns));
}

}  // namespace macadam
