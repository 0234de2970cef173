#pragma once
// Words for people: what error messages and tables share.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace macadam {

/// `text` between single quotes, fit for one line of a terminal as printable() makes it; what
/// passes `max_bytes` becomes "...".
std::string quote(std::string_view text, size_t max_bytes = 80);

/// The candidate with the smallest edit distance (insertions, deletions, substitutions and swaps
/// of neighbours count 1; case is ignored), the first among equals; empty without candidates.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

/// "a, b, c", for lists of valid values.
std::string joined(std::span<const std::string> words, std::string_view separator = ", ");

/// Characters (code points) of UTF-8 text: the width of a cell in a plain table.
size_t text_width(std::string_view utf8);

/// `text` followed (or preceded) by spaces up to `width` characters.
std::string pad_right(std::string_view text, size_t width);
std::string pad_left(std::string_view text, size_t width);

/// True when `text` is well-formed UTF-8 (Unicode 15, table 3-7).
bool is_utf8(std::string_view text);

}  // namespace macadam
