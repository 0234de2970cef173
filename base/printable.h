#pragma once
// Text from outside (file names, tensors, classes, options), fit to be shown: what a terminal would
// obey rather than print is written as an escape.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace macadam {

/// The character that a text begins with.
struct Character {
  size_t bytes = 0;   // 0: the text does not begin with well-formed UTF-8
  uint32_t code = 0;  // point
};

/// Reads well-formed UTF-8 (Unicode 15, table 3-7). Requires text that is not empty.
Character first_character(std::string_view text);

/// False for what a terminal obeys: control characters (C0, DEL, C1), the separators of lines and
/// paragraphs, and the marks that turn the direction of writing.
bool shows_itself(uint32_t code);

/// The escape of one character: "\x1b" for those of one byte, else "\u{202e}".
std::string escaped(Character character);

/// `text` on one line: characters that do not show themselves are escaped, and so are bytes that
/// are not UTF-8 ("\xff"). Backslashes stay, so that escaping twice changes nothing more.
std::string printable(std::string_view text);

/// The same, but newlines stay.
std::string printable_lines(std::string_view text);

}  // namespace macadam
