#pragma once
// Which Macadam this is.

namespace macadam {

/// The program's version: "0.1.0".
const char* version();

}  // namespace macadam
