#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/printable.h"
#include "base/to_size.h"

namespace macadam {

namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

/// Optimal string alignment distance.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, substituted});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

std::string quote(std::string_view text, size_t max_bytes) {
  std::string result = "'";
  while (!text.empty()) {
    const size_t length = std::max<size_t>(first_character(text).bytes, 1);
    const std::string piece = printable(text.substr(0, length));
    if (result.size() + piece.size() > max_bytes + 1) return result + "...'";
    result += piece;
    text.remove_prefix(length);
  }
  return result + "'";
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  constexpr size_t kLongestWord = 256;  // keeps the cost bounded; no valid word is that long
  const std::string wanted = lower(word.substr(0, kLongestWord));
  size_t best = std::numeric_limits<size_t>::max();
  std::string result;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(wanted, lower(candidate));
    if (distance < best) {
      best = distance;
      result = candidate;
    }
  }
  return result;
}

std::string joined(std::span<const std::string> words, std::string_view separator) {
  return fmt::format("{}", fmt::join(words, separator));
}

size_t text_width(std::string_view utf8) {
  return to_size(
      std::ranges::count_if(utf8, [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

std::string pad_right(std::string_view text, size_t width) {
  const size_t used = text_width(text);
  return std::string(text) + std::string(width > used ? width - used : 0, ' ');
}

std::string pad_left(std::string_view text, size_t width) {
  const size_t used = text_width(text);
  return std::string(width > used ? width - used : 0, ' ') + std::string(text);
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = first_character(text).bytes;
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace macadam
