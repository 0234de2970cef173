#include "server/http/accept.h"

#include <algorithm>
#include <string>

#include "server/http/message.h"

namespace macadam {

namespace {

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// The part before `separator`, trimmed; `text` begins behind it then.
std::string_view take_until(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = trimmed(text.substr(0, end));
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

constexpr int kWhole = 1000;
constexpr std::string_view kAnyType = "*/*";

/// Thousandths of "0", "0.25", "1.000"; of what is no such number, a whole.
int thousandths_of(std::string_view text) {
  constexpr size_t kLongest = 5;
  if (text.empty() || text.size() > kLongest || (text[0] != '0' && text[0] != '1')) return kWhole;
  if (text.size() > 1 && text[1] != '.') return kWhole;
  int sum = (text[0] - '0') * kWhole, unit = kWhole / 10;
  for (const char c : text.substr(std::min<size_t>(2, text.size()))) {
    if (c < '0' || c > '9') return kWhole;
    sum += (c - '0') * unit;
    unit /= 10;
  }
  return std::min(sum, kWhole);
}

}  // namespace

std::vector<MediaRange> media_ranges(std::string_view accept) {
  std::vector<MediaRange> ranges;
  while (!accept.empty()) {
    std::string_view element = take_until(accept, ',');
    MediaRange range{take_until(element, ';'), kWhole};
    while (!element.empty()) {
      std::string_view value = take_until(element, ';');
      if (same_field(take_until(value, '='), "q")) range.weight = thousandths_of(trimmed(value));
    }
    if (!range.type.empty()) ranges.push_back(range);
  }
  return ranges;
}

std::optional<int> weight_of(std::string_view type, std::span<const MediaRange> ranges) {
  const std::string any_of_kind = std::string(type.substr(0, type.find('/'))) + "/*";
  for (const std::string_view pattern : {type, std::string_view(any_of_kind), kAnyType}) {
    for (const MediaRange& range : ranges) {
      if (same_field(range.type, pattern)) return range.weight;
    }
  }
  return std::nullopt;
}

}  // namespace macadam
