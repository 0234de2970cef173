#pragma once
// The process' standard streams, as a program must take them that others start: closed, full,
// without a reader, or a terminal that changes its width.

#include <cstddef>
#include <string_view>

namespace macadam {

/// Puts something unreadable and unwritable in the place of standard streams that are closed:
/// otherwise the next files opened would get their numbers, and what is said would land in them.
/// Call before any file is opened.
void open_missing_streams();

/// Writes the whole text; errno on failure, 0 otherwise.
int write_text(int stream, std::string_view text);

/// errno, if what was written to `stream` cannot have arrived (some file systems tell only now); 0
/// otherwise.
int flush_stream(int stream);

/// Whether `stream` is a terminal that obeys escape sequences.
bool is_terminal(int stream);

/// The terminal's width in columns, as it is now; $COLUMNS where the terminal does not know, and
/// else 80.
size_t terminal_columns(int stream);

}  // namespace macadam
