/* What the bindings are made from: the DDK headers of mingw-w64, and what they lack. */
#define _KERNEL_MODE 1
#include <ntifs.h>
#include <ntddk.h>
#include "supplement.h"
