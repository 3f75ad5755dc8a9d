"""python3-dbusmock's bluez5 template, and advertisements: devices appear, change and expire as bluetoothd shows them.

A template runs inside the mock's process, so properties keep the types that the test gave them, also the wrong ones
(dbusmock's own UpdateProperties takes no dictionaries).
"""
import dbus

from dbusmock import OBJECT_MANAGER_IFACE, mockobject
from dbusmock.templates import bluez5
# A template is a module with these names; the functions are the template's D-Bus methods.
from dbusmock.templates.bluez5 import *  # noqa: F401,F403

MOCK_IFACE = bluez5.BLUEZ_MOCK_IFACE
MONITOR_IFACE = 'org.bluez.AdvertisementMonitorManager1'


def device_path(adapter, address):
    return f'/org/bluez/{adapter}/dev_{address.replace(":", "_")}'


@dbus.service.method(MOCK_IFACE, in_signature='ssa{sv}', out_signature='')
def Hear(self, adapter, address, properties):
    """One advertisement. A new device appears with InterfacesAdded only, a known one changes, as with bluetoothd."""
    path, manager = device_path(adapter, address), mockobject.objects['/']
    if path in mockobject.objects:
        mockobject.objects[path].props[bluez5.DEVICE_IFACE].update(properties)
        mockobject.objects[path].EmitSignal(dbus.PROPERTIES_IFACE, 'PropertiesChanged', 'sa{sv}as',
                                            [bluez5.DEVICE_IFACE, properties, []])
        return
    everything = {
        'Address': dbus.String(address, variant_level=1), 'AddressType': dbus.String('random', variant_level=1),
        'Alias': dbus.String(address.replace(':', '-'), variant_level=1),
        'Adapter': dbus.ObjectPath(f'/org/bluez/{adapter}', variant_level=1),
        'UUIDs': dbus.Array([], signature='s', variant_level=1),
        **{name: dbus.Boolean(False, variant_level=1)
           for name in ('Paired', 'Trusted', 'Blocked', 'Connected', 'ServicesResolved', 'LegacyPairing')},
        **properties}
    manager.AddObject(path, bluez5.DEVICE_IFACE, everything, [])
    manager.EmitSignal(OBJECT_MANAGER_IFACE, 'InterfacesAdded', 'oa{sa{sv}}',
                       [dbus.ObjectPath(path), {bluez5.DEVICE_IFACE: everything}])


@dbus.service.method(MOCK_IFACE, in_signature='ss', out_signature='')
def Expire(self, adapter, address):
    """bluetoothd drops a device that it has not heard for half a minute."""
    path, manager = device_path(adapter, address), mockobject.objects['/']
    manager.RemoveObject(path)
    manager.EmitSignal(OBJECT_MANAGER_IFACE, 'InterfacesRemoved', 'oas', [dbus.ObjectPath(path), [bluez5.DEVICE_IFACE]])


@dbus.service.method(MOCK_IFACE, in_signature='s', out_signature='')
def OfferMonitors(self, adapter):
    """An advertisement monitor manager that takes a registration, and then never activates the monitor."""
    mockobject.objects[f'/org/bluez/{adapter}'].AddMethods(MONITOR_IFACE, [
        ('RegisterMonitor', 'o', '', ''), ('UnregisterMonitor', 'o', '', '')])
