#include "base/version.h"

namespace macadam {

const char* version() { return MACADAM_VERSION; }

}  // namespace macadam
