/* Stands in for a library of Windows that Wine 8 lacks and Rust's standard library imports: one function. It is for
   running a program under Wine, and goes to no Windows machine. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(void *buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(BYTE *data, SIZE_T length)
{
    return SystemFunction036(data, (ULONG)length);
}
